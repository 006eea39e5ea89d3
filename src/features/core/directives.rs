//! The directives, as data.

use crate::conf::{Arity, Block, Context, DirectiveSpec as D, Inherit, Values};

const MAIN: Context = Context::MAIN;
const EVENTS: Context = Context::EVENTS;
const HTTP: Context = Context::HTTP;
const SERVER: Context = Context::SERVER;
const LOCATION: Context = Context::LOCATION;
const HS: Context = HTTP.or(SERVER);
const SL: Context = SERVER.or(LOCATION);
const HSL: Context = HS.or(LOCATION);
const HSLI: Context = HSL.or(Context::IF_IN_LOCATION);
const ONE: Arity = Arity::Exactly(1);
const FLAG: Arity = Arity::Flag;

const NO_FORK_TUNING: &str = "tunes a part of nginx that Octroi does not have";

/// All of them.
pub const DIRECTIVES: &[D] = &[
    // ---- main ---------------------------------------------------------------------------------
    D::new("user", MAIN, Arity::Between(1, 2), "user [group]", "nobody nobody", "The user, and group, the worker runs as when the master is root."),
    D::new("daemon", MAIN, FLAG, "on | off", "on", "Whether the process goes to the background."),
    D::new("master_process", MAIN, FLAG, "on | off", "on", "Whether a master watches over the worker; off is for development."),
    D::new("pid", MAIN, ONE, "file", "logs/nginx.pid", "The file the master's process number is written to once every socket listens."),
    D::new("worker_processes", MAIN, ONE, "number | auto", "1", "How many shards (threads, one per core) serve; auto: one for each CPU allowed."),
    D::new("worker_cpu_affinity", MAIN, Arity::AtLeast(1), "cpumask ... | auto [cpumask]", "", "Which CPUs each shard is pinned to."),
    D::new("worker_rlimit_nofile", MAIN, ONE, "number", "", "The worker's limit on open descriptors (RLIMIT_NOFILE)."),
    D::new("error_log", MAIN.or(HSL), Arity::AtLeast(1), "file | stderr | syslog:server=address[,parameter=value] [debug | info | notice | warn | error | crit | alert | emerg]", "logs/error.log error", "Where errors are written, and from which level on.").inherit(Inherit::Together),
    D::new("worker_rlimit_core", MAIN, ONE, "size", "", "The worker's limit on the size of a core file (RLIMIT_CORE)."),
    D::new("worker_priority", MAIN, ONE, "number", "0", "The worker's nice value: from -20, the most urgent, to 20."),
    D::new("worker_shutdown_timeout", MAIN, ONE, "time", "", "How long a worker that shuts down, and what a reload replaced, may take to finish; then its connections are closed."),
    D::new("working_directory", MAIN, ONE, "directory", "", "The worker's current directory."),
    D::new("env", MAIN, ONE, "variable[=value]", "TZ", "A variable of the environment that the worker, and a binary that takes over, keeps or is given.").inherit(Inherit::Together),
    D::new("pcre_jit", MAIN, FLAG, "on | off", "off", "Whether PCRE compiles to machine code.").accepted("it always does"),
    D::new("thread_pool", MAIN, Arity::Between(2, 3), "name threads=number [max_queue=number]", "default threads=32 max_queue=65536", "A pool for blocking file work.").accepted("one bounded file pool serves all shards").inherit(Inherit::NeverMany),
    D::new("timer_resolution", MAIN, ONE, "interval", "", "How often the clock is read.").values(Values::Time).accepted("reading the clock costs no system call"),
    D::new("lock_file", MAIN, ONE, "file", "logs/nginx.lock", "The file of the accept mutex.").accepted(NO_FORK_TUNING),
    D::new("load_module", MAIN, ONE, "file", "", "Loads a dynamic module; one whose feature is built in is accepted.").inherit(Inherit::NeverMany),
    D::new("events", MAIN, Arity::Exactly(0), "", "", "The block for connection processing.").block(Block::Directives(EVENTS)).inherit(Inherit::Never),
    D::new("http", MAIN, Arity::Exactly(0), "", "", "The block for HTTP.").block(Block::Directives(HTTP)).inherit(Inherit::Never),
    // ---- events ---------------------------------------------------------------------------------
    D::new("worker_connections", EVENTS, ONE, "number", "512", "Connections, to clients and upstreams, that one shard keeps open at most."),
    D::new("multi_accept", EVENTS, FLAG, "on | off", "off", "Whether all waiting connections are accepted at once.").accepted("each shard accepts as the kernel hands connections over"),
    D::new("accept_mutex", EVENTS, FLAG, "on | off", "off", "Whether workers take turns to accept.").accepted("every shard has a listening socket of its own"),
    D::new("accept_mutex_delay", EVENTS, ONE, "time", "500ms", "How long a worker waits for its turn.").values(Values::Time).accepted("every shard has a listening socket of its own"),
    D::new("use", EVENTS, ONE, "method", "", "The event method.").accepted("io_uring is used where the kernel allows it, else epoll"),
    D::new("worker_aio_requests", EVENTS, ONE, "number", "32", "Outstanding file operations.").values(Values::Number).accepted(NO_FORK_TUNING),
    // ---- http, server, location: structure ---------------------------------------------------------
    D::new("server", HTTP, Arity::Exactly(0), "", "", "A virtual server.").block(Block::Directives(SERVER)).inherit(Inherit::NeverMany),
    D::new("listen", SERVER, Arity::AtLeast(1), "address[:port] | port | unix:path [default_server] [backlog=n] [rcvbuf=size] [sndbuf=size] [ipv6only=on|off] [so_keepalive=on|off|[idle]:[intvl]:[cnt]] [fastopen=n] [deferred] [bind] [reuseport] [http2]", "*:80", "An address the server is reached at.").inherit(Inherit::NeverMany),
    D::new("server_name", SERVER, Arity::AtLeast(1), "name ...", "\"\"", "The names of the server: exact, with a wildcard at either end, or a regular expression after ~.").inherit(Inherit::NeverMany),
    D::new("location", SL, Arity::Between(1, 2), "[= | ~ | ~* | ^~] uri | @name", "", "What holds for a part of the paths.").block(Block::Directives(LOCATION)).inherit(Inherit::NeverMany),
    // ---- HTTP/2 ---------------------------------------------------------------------------------
    D::new("http2", HS, FLAG, "on | off", "off", "Whether HTTP/2 is spoken: over TLS to clients that offer it, as the server of the name they ask for says; in clear text to those that begin with its preface, as the address's default server says."),
    D::new("http2_max_concurrent_streams", HS, ONE, "number", "128", "How many requests a client may have under way on one HTTP/2 connection."),
    D::new("http2_body_preread_size", HS, ONE, "size", "64k", "How much of a request's body an HTTP/2 client may send before it is read."),
    D::new("http2_recv_buffer_size", HTTP, ONE, "size", "256k", "How much is read from an HTTP/2 connection at once; at most 64k."),
    D::new("http2_chunk_size", HSL, ONE, "size", "8k", "How much of an answer's body goes into one frame."),
    D::new("internal", LOCATION, Arity::Exactly(0), "", "", "Only the gateway itself may come here; others get 404.").inherit(Inherit::Never),
    D::new("satisfy", HSL, ONE, "all | any", "all", "Whether all of allow and deny, auth_basic and auth_request must let a request in, or one of them is enough."),
    D::new("auth_delay", HSL, ONE, "time", "0s", "How long an answer with status 401 waits, so that guessing takes its time."),
    // ---- files -----------------------------------------------------------------------------------
    D::new("root", HSLI, ONE, "path", "html", "The directory that paths are appended to."),
    D::new("alias", LOCATION, ONE, "path", "", "What replaces the location's name in the path of a file.").inherit(Inherit::Never),
    D::new("types", HSL, Arity::Exactly(0), "", "text/html html; image/gif gif; image/jpeg jpg;", "Media types by file name extension.").block(Block::Entries).inherit(Inherit::Together),
    D::new("default_type", HSL, ONE, "mime-type", "text/plain", "The media type of what types does not name."),
    D::new("types_hash_max_size", HSL, ONE, "number", "1024", "The size of a table of nginx's.").values(Values::Number).accepted("the table grows as it must"),
    D::new("types_hash_bucket_size", HSL, ONE, "size", "64", "The size of a table of nginx's.").values(Values::Number).accepted("the table grows as it must"),
    D::new("etag", HSL, FLAG, "on | off", "on", "Whether files get an ETag."),
    D::new("if_modified_since", HSL, ONE, "off | exact | before", "exact", "How If-Modified-Since is compared."),
    D::new("disable_symlinks", HSL, Arity::Between(1, 2), "off | on | if_not_owner [from=part]", "off", "Whether paths with symbolic links are refused, or those with links that belong to another than what they point to; behind an initial part only."),
    D::new("open_file_cache", HSL, Arity::Between(1, 2), "off | max=N [inactive=time]", "off", "Keeps so many files open between requests, for as long as they are asked for."),
    D::new("open_file_cache_valid", HSL, ONE, "time", "60s", "How long what is kept is believed."),
    D::new("open_file_cache_min_uses", HSL, ONE, "number", "1", "How often a file is asked for before it is kept open."),
    D::new("open_file_cache_errors", HSL, FLAG, "on | off", "off", "Whether it is remembered too that a file cannot be opened."),
    D::new("open_file_cache_events", HSL, FLAG, "on | off", "off", "Whether the kernel tells when a file changes.").accepted("Linux has no kqueue, and nginx ignores it there too"),
    D::new("log_not_found", HSL, FLAG, "on | off", "on", "Whether missing files are logged."),
    D::new("log_subrequest", HSL, FLAG, "on | off", "off", "Whether subrequests, such as those of auth_request, get lines in the access log."),
    D::new("sendfile", HSLI, FLAG, "on | off", "off", "Whether the kernel copies files to sockets.").accepted("the kernel sends what it has of a large file in memory, nothing else"),
    D::new("directio_alignment", HSL, ONE, "size", "512", "The alignment of such reads.").values(Values::Offset).accepted("files are read through the page cache"),
    D::new("aio_write", HSL, FLAG, "on | off", "off", "Whether temporary files are written by threads.").accepted("they always are"),
    D::new("sendfile_max_chunk", HSL, ONE, "size", "2m", "How much one call copies.").values(Values::Size).accepted("a shard sends at most 512 KB of a file before others have their turn"),
    D::new("tcp_nopush", HSL, FLAG, "on | off", "off", "Whether heads wait for the body's first bytes.").accepted("head and first bytes leave in one send anyway"),
    D::new("aio", HSL, ONE, "on | off | threads[=pool]", "off", "How files are read.").values(Values::OneOf(&["on", "off", "threads", "threads="])).accepted("what is not in memory is always read off the shard"),
    D::new("directio", HSL, ONE, "size | off", "off", "Files read past the page cache.").values(Values::OffsetOr("off")).accepted("files are read through the page cache"),
    D::new("output_buffers", HSL, Arity::Exactly(2), "number size", "2 32k", "Buffers for reading files.").values(Values::Buffers).accepted("buffers are shared by the shard"),
    D::new("read_ahead", HSL, ONE, "size", "0", "How much the kernel reads ahead.").values(Values::Size).accepted("the kernel's own default is used"),
    // ---- the client's connection --------------------------------------------------------------------
    D::new("keepalive_timeout", HSL, Arity::Between(1, 2), "timeout [header_timeout]", "75s", "How long an idle connection stays open; 0 closes after each answer."),
    D::new("keepalive_requests", HSL, ONE, "number", "1000", "Requests served on one connection."),
    D::new("keepalive_time", HSL, ONE, "time", "1h", "How long one connection may serve requests."),
    D::new("keepalive_disable", HSL, Arity::Between(1, 2), "none | msie6 | safari ...", "msie6", "Browsers whose connections serve one request only: old MSIE after a POST, Safari on macOS."),
    D::new("keepalive_min_timeout", HSL, ONE, "timeout", "0", "For how long an idle connection is not closed even where the worker ends."),
    D::new("client_header_timeout", HS, ONE, "time", "60s", "How long a client may take to send a request's head."),
    D::new("client_header_buffer_size", HS, ONE, "size", "1k", "Bytes of a head before large buffers are used."),
    D::new("large_client_header_buffers", HS, Arity::Exactly(2), "number size", "4 8k", "Bounds a head: one line fits one buffer, all of it fits all of them."),
    D::new("client_body_timeout", HSL, ONE, "time", "60s", "How long a client may pause between two parts of a body."),
    D::new("client_max_body_size", HSL, ONE, "size", "1m", "The largest body a client may send; 0 for any."),
    D::new("client_body_buffer_size", HSL, ONE, "size", "16k", "How much of a body is kept in memory; more goes to a temporary file."),
    D::new("client_body_temp_path", HSL, Arity::Between(1, 4), "path [level1 [level2 [level3]]]", "client_body_temp", "The directory of those temporary files.").values(Values::TempPath),
    D::new("client_body_in_file_only", HSL, ONE, "on | clean | off", "off", "Whether every body is written to a file, which $request_body_file names; with clean it is removed at the end."),
    D::new("client_body_in_single_buffer", HSL, FLAG, "on | off", "off", "Whether a body in memory is in one piece.").accepted("it always is"),
    D::new("limit_rate", HSLI, ONE, "rate", "0", "Bytes a second that a client gets of one answer; 0 for any; variables are allowed."),
    D::new("limit_rate_after", HSLI, ONE, "size", "0", "Bytes of an answer that are sent before the rate counts; variables are allowed."),
    D::new("send_timeout", HSL, ONE, "time", "60s", "How long a client may take between two reads of an answer."),
    D::new("lingering_close", HSL, ONE, "off | on | always", "on", "Whether a connection with unread data is read on for a while before it is closed."),
    D::new("lingering_time", HSL, ONE, "time", "30s", "For how long it is."),
    D::new("lingering_timeout", HSL, ONE, "time", "5s", "For how long nothing may come meanwhile."),
    D::new("reset_timedout_connection", HSL, FLAG, "on | off", "off", "Whether a connection that timed out is reset rather than closed."),
    D::new("tcp_nodelay", HSL, FLAG, "on | off", "on", "Whether small packets are sent at once."),
    D::new("postpone_output", HSL, ONE, "size", "1460", "Bytes that are gathered before they are sent.").values(Values::Size).accepted("an answer's head and first bytes leave in one send"),
    D::new("send_lowat", HSL, ONE, "size", "0", "How much room a socket must have before it is written to.").values(Values::Size).accepted("Linux has no such option, and nginx ignores it there too"),
    D::new("chunked_transfer_encoding", HSL, FLAG, "on | off", "on", "Whether answers of unknown length are sent chunked."),
    D::new("connection_pool_size", HS, ONE, "size", "512", "Memory of nginx's pools.").values(Values::Size).accepted(NO_FORK_TUNING),
    D::new("request_pool_size", HS, ONE, "size", "4k", "Memory of nginx's pools.").values(Values::Size).accepted(NO_FORK_TUNING),
    D::new("variables_hash_max_size", HTTP, ONE, "number", "1024", "The size of a table of nginx's.").values(Values::Number).accepted("variables are resolved when the configuration is read"),
    D::new("variables_hash_bucket_size", HTTP, ONE, "size", "64", "The size of a table of nginx's.").values(Values::Number).accepted("variables are resolved when the configuration is read"),
    D::new("server_names_hash_max_size", HTTP, ONE, "number", "512", "The size of a table of nginx's.").values(Values::Number).accepted("the table grows as it must"),
    D::new("server_names_hash_bucket_size", HTTP, ONE, "size", "64", "The size of a table of nginx's.").values(Values::Number).accepted("the table grows as it must"),
    // ---- reading requests ------------------------------------------------------------------------------
    D::new("merge_slashes", HS, FLAG, "on | off", "on", "Whether adjacent slashes of a path become one."),
    D::new("ignore_invalid_headers", HS, FLAG, "on | off", "on", "Whether header fields with invalid names are dropped rather than refused."),
    D::new("underscores_in_headers", HS, FLAG, "on | off", "off", "Whether header names may hold underscores."),
    D::new("max_headers", HS, ONE, "number", "1000", "Header fields a request may have."),
    // ---- answering ---------------------------------------------------------------------------------------
    D::new("subrequest_output_buffer_size", HSL, ONE, "size", "4k|8k", "How much of a subrequest's answer is kept in memory for whoever asked for it.").values(Values::Size).accepted("nothing that is built asks for the text of an answer"),
    D::new("server_tokens", HSL, ONE, "on | off | build", "on", "Whether the version is shown in error pages and the Server field."),
    D::new("msie_padding", HSL, FLAG, "on | off", "on", "Whether error pages for MSIE and Chrome are made longer than the 512 bytes below which these show their own."),
    D::new("msie_refresh", HSL, FLAG, "on | off", "off", "Whether MSIE gets a page that sends it on instead of a redirect."),
    D::new("error_page", HSLI, Arity::AtLeast(2), "code ... [=[response]] uri", "", "What is shown for these statuses.").inherit(Inherit::Together),
    D::new("post_action", HSLI, ONE, "uri | @name", "", "A path or named location that is run once an answer was sent; what it answers is thrown away."),
    D::new("recursive_error_pages", HSL, FLAG, "on | off", "off", "Whether an error page may have one itself."),
    D::new("absolute_redirect", HSL, FLAG, "on | off", "on", "Whether redirects made here name scheme and host."),
    D::new("port_in_redirect", HSL, FLAG, "on | off", "on", "Whether they name the port."),
    D::new("server_name_in_redirect", HSL, FLAG, "on | off", "off", "Whether they name the server's first name instead of the host asked for."),
];

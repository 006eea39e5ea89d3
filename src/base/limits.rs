//! Every bound of the data plane that is not a directive, with its reason. Where nginx has the
//! same bound, its default is named.

/// Bytes of an ordinary receive or send buffer: a request head with its first body bytes, or an
/// answer's head with a small body, in one system call. nginx reads heads into 1 KB and then
/// 8 KB buffers; 16 KB is also the largest TLS record.
pub const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of a small buffer, which a connection that waits for a request may have in hand: nearly every
/// head fits, and it is one page.
pub const SMALL_BUFFER_BYTES: usize = 4 * 1024;

/// Bytes of a buffer for large bodies; 8 KB ones cost twice the CPU at 1 MB.
pub const LARGE_BUFFER_BYTES: usize = 64 * 1024;

/// Free ordinary buffers a shard keeps: 512 x 16 KB = 8 MB. What comes back beyond that is freed.
pub const FREE_BUFFERS_MAX: usize = 512;

/// Free small buffers a shard keeps: 512 x 4 KB = 2 MB.
pub const FREE_SMALL_BUFFERS_MAX: usize = 512;

/// Free large buffers a shard keeps: 64 x 64 KB = 4 MB.
pub const FREE_LARGE_BUFFERS_MAX: usize = 64;

/// Free exchanges (request scratch memory) a shard keeps.
pub const FREE_EXCHANGES_MAX: usize = 512;

/// Bytes one recycled scratch vector may keep; a request that needed more gives it back.
pub const SCRATCH_KEEP_BYTES: usize = 64 * 1024;

/// Header fields in a request; nginx's `max_headers` has the default 1000.
pub const REQUEST_FIELDS_MAX: usize = 1000;

/// Header fields in an upstream's answer; its bytes are bounded by `proxy_buffer_size` anyway.
pub const RESPONSE_FIELDS_MAX: usize = 1000;

/// Internal relocations of one request (`rewrite ... last`, `error_page`, `index`): nginx's
/// NGX_HTTP_MAX_URI_CHANGES.
pub const RELOCATIONS_MAX: u32 = 10;

/// Depth of subrequests: nginx's NGX_HTTP_MAX_SUBREQUESTS.
pub const SUBREQUEST_DEPTH_MAX: u32 = 50;

/// Requests a shard makes on the side (`mirror`) at a time: a mirror that is slower than its original
/// would gather them without end. 1024 wait for a second at a thousand requests a second.
pub const ASIDE_MAX: usize = 1024;

/// Variables that are derived from one another, the one within the other: nginx's
/// `ngx_http_variable_depth`. A `map` may lead back to itself.
pub const VARIABLE_DEPTH_MAX: u32 = 100;

/// Derivations for one value: volatile variables that each read the one before twice would go through
/// 2^100 of them within that depth. What is not volatile is worked out once.
pub const VARIABLE_EVALUATIONS_MAX: u32 = 10_000;

/// Bytes of a subrequest's answer that are kept in memory: nginx's `subrequest_output_buffer_size`
/// defaults to one page; a verdict needs no body, so this is generous.
pub const SUBREQUEST_BODY_MAX: usize = 64 * 1024;

/// Interim (1xx) answers read from an upstream before one answer; more is an abuse.
pub const INTERIM_ANSWERS_MAX: u32 = 16;

/// Bytes of a trailer section, either direction.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Connections of a shard that wait for a request with a small buffer in hand: their next request
/// costs one receive. The others wait without one, and theirs costs a wait and a receive.
pub const HOT_WAITS_MAX: usize = FREE_SMALL_BUFFERS_MAX;

/// Connections that wait at a shard to be taken over from one that a reload made superfluous: what the
/// taker gets through in a few milliseconds. One that finds no place stays where it is until its next
/// request.
pub const MOVES_WAITING_MAX: usize = 1024;

/// Milliseconds an upstream may think before the client's connection is watched for a hang-up
/// (499). Watching costs an operation per request, so quick answers never pay for it.
pub const WATCH_CLIENT_AFTER_MS: u64 = 50;

/// Milliseconds a client may keep an upstream's answer waiting, all its waits together, before the rest
/// is read ahead into memory and a file. A client on the same network never does, one that reads at
/// 10 MB a second has done so after the first 512 KB.
pub const SPOOL_AFTER_MS: u64 = 50;

/// Milliseconds between two looks at idle upstream connections for one that the peer closed.
pub const POOL_SWEEP_MS: u64 = 1000;

/// Accepts a shard has under way on one listening socket: with a single one, every new connection
/// costs a turn of its own.
pub const ACCEPTS_IN_FLIGHT: usize = 8;

/// Milliseconds between two looks at a listening socket for a connection that nobody was woken for: the
/// kernel wakes one accept, and that may have been one of a process that was just killed.
pub const ACCEPT_LOOK_MS: u64 = 1000;

/// Accepts in a row a listener makes after a failure before it waits.
pub const ACCEPT_RETRY_MS: u64 = 500;

/// Bytes of one buffered access log a shard holds at most, whatever `buffer=` says.
pub const LOG_BUFFER_MAX: usize = 16 * 1024 * 1024;

/// Bytes of access-log lines queued in one turn before they are written at once.
pub const LOG_TURN_BYTES: usize = 64 * 1024;

/// Bytes of a file below which it is read and sent from a buffer: one or two sends, which cost less than
/// the four calls round sendfile(2).
pub const SENDFILE_LEAST: u64 = 128 * 1024;

/// Bytes that one sendfile(2) is asked for: what a shard does at once for one client.
pub const SENDFILE_BYTES: usize = 512 * 1024;

/// Requests that a shard may be answering for it to send by send(2) at once, which is cheaper than a turn of
/// the ring that carries nothing else. With more of them the ring takes several sends at a time.
pub const SENDS_ALONE_MAX: u64 = 2;

/// Bytes of a body that are still to come from which on it is spliced: below, the calls cost as much as
/// the copies.
pub const SPLICE_LEAST: u64 = 32 * 1024;

/// Bytes that a pipe holds, page by page: what goes through it at once for one client.
pub const PIPE_BYTES: usize = 256 * 1024;

/// Pipes a shard has at a time: 64 x 256 KB = 16 MB of other people's pages. Who gets none copies.
pub const PIPES_MAX: usize = 64;

/// Bytes of a piece that is worth splicing, and how many smaller ones one body may have before the rest
/// of it is copied, which gathers them.
pub const SPLICE_PIECE_LEAST: usize = 4096;
/// See [`SPLICE_PIECE_LEAST`].
pub const SPLICE_SMALL_PIECES_MAX: u32 = 8;

/// Bytes that are spliced for one client before others have their turn.
pub const SPLICE_TURN_BYTES: usize = 1024 * 1024;

/// Threads of the file pool: what a disk can usefully be asked at once on a small host.
pub const FILE_POOL_THREADS: usize = 4;

/// Jobs that may wait for the file pool; beyond it a request gets 503 rather than a place.
pub const FILE_POOL_QUEUE: usize = 1024;

/// Bytes a PCRE match may be tried: `(*LIMIT_MATCH=...)`; without it a bad pattern held a shard
/// for 200 ms, with it for 50 us.
pub const REGEX_MATCH_LIMIT: u32 = 10_000;

/// Capture groups kept of one match ($1 .. $9, and named ones beyond).
pub const CAPTURES_MAX: usize = 32;

/// Streams an HTTP/2 connection may be allowed at a time: each may cost what a request costs.
pub const H2_STREAMS_MAX: u64 = 10_000;

/// Bytes of a stream's window, RFC 9113, 6.9.1: 2^31 - 1.
pub const H2_WINDOW_MAX: u64 = 0x7fff_ffff;

/// Windows of one stream that a whole HTTP/2 connection may fill before any of it is read: a client that
/// makes requests whose bodies nobody reads costs so much memory (1 MB with nginx's 64 KB) and no more.
pub const H2_SESSION_WINDOWS: u32 = 16;

/// Bytes of the table that HPACK keeps per connection (RFC 9113, 6.5.2): its default.
pub const H2_HEADER_TABLE_BYTES: u32 = 4096;

/// Bytes of one answer that wait in an HTTP/2 connection's memory for its socket.
pub const H2_SEND_BUFFER_BYTES: usize = LARGE_BUFFER_BYTES;

/// Streams of an HTTP/2 connection that its client resets before they are looked at: all of them came in
/// one read, which no client does by accident (rapid reset, CVE-2023-44487).
pub const H2_EARLY_RESETS_MAX: usize = 20;

/// Streams that this side reset, and whose frames still on their way are ignored.
pub const H2_CONTROL_RESETS_MAX: usize = 20;

/// Streams that this side resets because of what their client sent, over a connection's life
/// (MadeYouReset, CVE-2025-8671).
pub const H2_FAULTS_MAX: usize = 128;

/// By how many the requests that a client resets may outnumber those it lets be answered: a browser that
/// leaves a page resets all of that page's, at most as many as it may have open.
pub const H2_RESETS_MAX: u32 = 128;

/// Bytes of memory that DATA frames of a connection may cost while they are unread, beside what they carry:
/// one below 256 bytes counts as if it had so many. That is 512 frames of a byte each.
pub const H2_SMALL_FRAMES_BYTES: usize = 512 * 256;

/// Of the bytes a client sends, one in so many has to belong to a head or a body, or to pay for an
/// answer's: nginx's ratio.
pub const H2_WORTHLESS_SHARE: u64 = 8;

/// Bytes beyond that ratio before it counts: 2 MB of PINGs in all, where nginx allows 8 MB. A client that
/// measures its line sends a few.
pub const H2_WORTHLESS_BYTES_MAX: u64 = 256 * 1024;

/// Heads of an HTTP/2 connection that are known to have come and were not looked at yet: more than come
/// in one read, and the oldest gives way.
pub const H2_HEADS_NOTED_MAX: usize = 1024;

/// Milliseconds that an HTTP/2 connection may take to end once it has no stream and was told to go away.
pub const H2_GOAWAY_WAIT_MS: u64 = 1000;

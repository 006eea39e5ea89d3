//! Floor 2, the data plane's sockets: monoio and the kernel. Only this room names monoio, and only
//! it and `process/os.rs` hold unsafe code.

pub mod deadline;
pub mod directory;
pub mod error_log;
pub mod file;
pub mod file_cache;
pub mod file_pool;
pub mod file_version;
pub mod h1_body;
pub mod h2;
pub mod listener;
pub mod log_buffer;
pub mod log_file;
pub mod pool;
pub mod runtime;
pub mod sockets;
pub mod splice;
pub mod stream;
pub mod symlinks;
pub mod syslog;
pub mod temp_file;
pub mod timezone;
pub mod tls;

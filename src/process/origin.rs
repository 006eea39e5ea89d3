//! Which files an invocation means: nginx's rules for `-c`, `-p` and `-e`, with Debian's paths.

use std::env;
use std::path::{Path, PathBuf};

use crate::plan::Origin;

/// Configuration files that are looked for without `-c`, in this order.
const CONFIGURATIONS: [&str; 2] = ["/etc/octroi/octroi.conf", "/etc/nginx/nginx.conf"];

/// The prefix without `-p`.
const PREFIX: &str = "/usr/share/nginx/";

/// The error log until a configuration is known, without `-e`.
const ERROR_LOG: &str = "/var/log/nginx/error.log";

/// What `-e` names for standard error.
const STDERR: &str = "stderr";

/// The configuration file that is read without `-c`.
pub fn default_conf() -> &'static Path {
    let [own, nginxs] = CONFIGURATIONS.map(Path::new);
    if own.exists() { own } else { nginxs }
}

/// The prefix without `-p`.
pub fn default_prefix() -> &'static Path {
    Path::new(PREFIX)
}

/// The error log without `-e` and before `error_log`.
pub fn default_error_log() -> &'static Path {
    Path::new(ERROR_LOG)
}

/// Every path made absolute: `-c` and `-e` are relative to `-p`, and `-p` to the current folder.
/// Without `-p`, `-c` is relative to the folder of the default configuration, as in nginx.
pub fn resolve(
    conf: Option<&Path>,
    prefix: Option<&Path>,
    error_log: Option<&Path>,
    globals: String,
) -> Origin {
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let default_conf = default_conf();
    let conf_folder = match prefix {
        Some(prefix) => here.join(prefix),
        None => default_conf.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    // Joining the empty path leaves one slash at the end, as nginx's prefix has.
    let prefix = here.join(prefix.unwrap_or(default_prefix())).join("");
    let error_log = error_log.map(|path| match path == Path::new(STDERR) {
        true => path.to_owned(),
        false => prefix.join(path),
    });
    Origin { conf: conf_folder.join(conf.unwrap_or(default_conf)), prefix, globals, error_log }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(conf: &str, prefix: &str, log: &str) -> Vec<String> {
        let some = |path: &'static str| (!path.is_empty()).then_some(path);
        let leak = |path: &str| some(Box::leak(path.to_owned().into_boxed_str())).map(Path::new);
        let origin = resolve(leak(conf), leak(prefix), leak(log), String::new());
        let log = origin.error_log.unwrap_or_default();
        [origin.conf, origin.prefix, log].map(|path| path.display().to_string()).to_vec()
    }

    #[test]
    fn paths_follow_nginxs_rules() {
        assert_eq!(resolved("n.conf", "/p", "e.log"), ["/p/n.conf", "/p/", "/p/e.log"]);
        assert_eq!(resolved("/x/n.conf", "/p/", "/e.log"), ["/x/n.conf", "/p/", "/e.log"]);
        assert_eq!(resolved("/x/n.conf", "", "stderr"), ["/x/n.conf", "/usr/share/nginx/", "stderr"]);
        let here = env::current_dir().unwrap_or_default();
        assert_eq!(resolved("n.conf", "sub/", "")[0], here.join("sub/n.conf").display().to_string());
    }
}

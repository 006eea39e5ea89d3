//! A configuration before its server runs.

use std::collections::BTreeMap;

use super::place::Dir;
use super::program::{Outcome, program};
use super::server::Server;
use super::wire::Transcript;

/// A configuration being prepared: its text, the values of its `%%NAME%%`
/// placeholders and the files beside it.
///
/// `%%PORT%%`, `%%PORT_1%%`, ... are free ports, `%%DIR%%` is the server's own directory.
pub struct Setup {
    text: String,
    values: BTreeMap<String, String>,
    files: Vec<(String, Vec<u8>)>,
    arguments: Vec<String>,
    http: bool,
}

impl Setup {
    /// The inside of an `http {}` block.
    pub fn http(text: &str) -> Setup {
        Setup { http: true, ..Setup::whole(text) }
    }

    /// A whole nginx.conf, taken as it is.
    pub fn whole(text: &str) -> Setup {
        Setup {
            text: text.to_owned(),
            values: BTreeMap::new(),
            files: Vec::new(),
            arguments: Vec::new(),
            http: false,
        }
    }

    /// What `%%NAME%%` stands for.
    pub fn put(mut self, name: &str, value: impl ToString) -> Setup {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// A file in the server's directory, with its folders.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Setup {
        self.files.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// More arguments on the command line.
    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes the files, and starts nothing.
    pub fn prepare(self) -> Server {
        let dir = Dir::new();
        let mut server = Server {
            child: None,
            dir,
            config: String::new(),
            values: self.values,
            ports: Vec::new(),
            arguments: self.arguments,
            http: self.http,
            transcript: Transcript::default(),
            alerts_allowed: false,
            binary: None,
            detached: false,
            keeps_root: false,
            data_kilobytes: None,
        };
        let folder = server.path("");
        server.values.insert("DIR".to_owned(), folder.trim_end_matches('/').to_owned());
        for (path, content) in self.files {
            let content = server.fill_bytes(content);
            server.write(&path, content);
        }
        server.configure(&self.text);
        server
    }

    /// Starts the server and waits until it is ready.
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.launch();
        server
    }

    /// Runs `-t` on it.
    pub fn check(self) -> Outcome {
        self.prepare().run(&["-t"])
    }

    /// Runs `-t`, which must refuse it: the first line of the answer, without
    /// the program's name and with `DIR/` for the directory.
    pub fn refused(self) -> String {
        let server = self.prepare();
        let outcome = server.run(&["-t"]);
        assert_eq!(outcome.code, Some(1), "the file was not refused: {}", outcome.stderr);
        assert!(outcome.stderr.contains("nginx.conf test failed\n"), "{}", outcome.stderr);
        server.tidy(outcome.stderr.lines().next().unwrap_or_default())
    }
}

/// The frame of a test's `http {}` block.
pub(super) fn in_http(text: &str) -> String {
    // Debian's nginx keeps temporary files where only root may write.
    let temporary = if program().is_octroi() {
        ""
    } else {
        "client_body_temp_path %%DIR%%/body; proxy_temp_path %%DIR%%/proxy;\n    \
         fastcgi_temp_path %%DIR%%/fastcgi; uwsgi_temp_path %%DIR%%/uwsgi; scgi_temp_path %%DIR%%/scgi;"
    };
    format!(
        "daemon off;\npid %%DIR%%/nginx.pid;\nerror_log %%DIR%%/error.log info;\n\
         events {{ worker_connections 512; }}\nhttp {{\n    access_log %%DIR%%/access.log;\n    \
         {temporary}\n{text}\n}}\n"
    )
}

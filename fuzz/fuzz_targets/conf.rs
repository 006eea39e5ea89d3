//! Configurations: whatever the text, reading and compiling it ends with a plan or with a diagnostic
//! of one line, and what was read prints and reads back as itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use octroi::conf::{self, Snapshot};
use octroi::features;
use octroi::plan::Origin;
use std::path::Path;

const CONF: &str = "/conf/nginx.conf";
const BOM: &[u8] = b"\xef\xbb\xbf";

fuzz_target!(|text: &[u8]| {
    let mut files = Snapshot::default();
    files.insert(CONF, text);
    let (file, folder) = (Path::new(CONF), Path::new("/conf"));
    // A byte order mark at the front of a file is skipped, elsewhere it is part of a word: a tree
    // that begins with one cannot be printed.
    let marked = text.windows(BOM.len()).any(|bytes| bytes == BOM);
    if let (false, Ok(tree)) = (marked, conf::parse(file, "", folder, &mut files)) {
        let printed = tree.to_string();
        let mut again = Snapshot::default();
        again.insert(CONF, printed.as_bytes());
        let again = conf::parse(file, "", folder, &mut again).expect("what was printed can be read");
        assert_eq!(again.to_string(), printed);
    }
    let origin = Origin { conf: CONF.into(), prefix: folder.into(), globals: String::new(), error_log: None };
    if let Err(error) = features::load(&origin, &mut files) {
        let line = error.first_line();
        assert!(line.starts_with('[') && !line.contains('\n'), "{line:?}");
    }
});

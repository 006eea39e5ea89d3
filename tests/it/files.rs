//! How files are opened: `disable_symlinks`, `open_file_cache`.

use std::os::unix::fs::{MetadataExt, lchown, symlink};

use crate::harness::*;

/// A site with links, some to files of another owner.
fn site(conf: &str) -> Server {
    let server = Setup::http(&format!("server {{ listen 127.0.0.1:%%PORT%%; root %%DIR%%/www; {conf} }}"))
        .file("www/real/file", "file")
        .file("www/real/index.html", "index")
        .start();
    let owner = std::fs::metadata(server.path("www/real/file")).unwrap().uid();
    let link = |to: &str, at: &str| {
        symlink(to, server.path(at)).unwrap();
        lchown(server.path(at), Some(owner), None).unwrap();
    };
    link("real", "www/way");
    link("file", "www/real/link");
    link("none", "www/real/dangling");
    link("loop", "www/real/loop");
    link("/etc/passwd", "www/real/passwd");
    link("/etc", "www/etc");
    server
}

/// Whether the files of the tests belong to another user than those of the system.
fn owners_differ(server: &Server) -> bool {
    let owner = |path: &str| std::fs::metadata(path).unwrap().uid();
    let differ = owner(&server.path("www/real/file")) != owner("/etc/passwd");
    if !differ {
        println!("skipped: all files have one owner");
    }
    differ
}

fn statuses(server: &Server, paths: &[(&str, u16)]) {
    for (path, status) in paths {
        assert_eq!(server.get(path).status(), *status, "{path}");
    }
}

#[test]
fn links_are_followed_without_a_rule() {
    let server = site("location /off { disable_symlinks off; alias %%DIR%%/www; }");
    statuses(
        &server,
        &[
            ("/real/link", 200),
            ("/way/file", 200),
            ("/way/", 200),
            ("/off/way/link", 200),
            ("/etc/passwd", 200),
            ("/real/dangling", 404),
            ("/real/loop", 403),
        ],
    );
}

#[test]
fn links_are_refused() {
    let server = site("disable_symlinks on from=$document_root;");
    statuses(
        &server,
        &[
            ("/real/file", 200),
            ("/real/", 200),
            ("/real", 301),
            ("/real/link", 403),
            ("/real/passwd", 403),
            ("/real/dangling", 403),
            ("/way/file", 404),
            ("/way/", 404),
            ("/way", 403),
            ("/real/none", 404),
            ("/real/file/", 404),
        ],
    );
    server.wait_log("openat() \"");
}

#[test]
fn links_of_one_owner_are_followed() {
    let server = site("disable_symlinks if_not_owner from=%%DIR%%;");
    statuses(
        &server,
        &[("/real/file", 200), ("/real/link", 200), ("/way/link", 200), ("/way/", 200), ("/real/loop", 403)],
    );
    if owners_differ(&server) {
        statuses(&server, &[("/real/passwd", 403), ("/etc/passwd", 403)]);
    }
}

#[test]
fn links_in_the_initial_part_do_not_count() {
    let server = site(
        "location ~ ^/exact/(.+)$ { disable_symlinks on from=%%DIR%%/www/$1; alias %%DIR%%/www/$1; }
         location /w/ { disable_symlinks on from=%%DIR%%/www/way; alias %%DIR%%/www/way/; }
         location /s/ { disable_symlinks on from=%%DIR%%/www/way/; alias %%DIR%%/www/way/; }
         location /half/ { disable_symlinks on from=%%DIR%%/www/wa; alias %%DIR%%/www/way/; }
         location /other/ { disable_symlinks on from=/elsewhere; alias %%DIR%%/www/way/; }",
    );
    statuses(
        &server,
        &[
            ("/exact/real/link", 200),
            ("/w/file", 200),
            ("/w/link", 403),
            ("/s/file", 200),
            ("/half/file", 404),
            ("/other/file", 404),
        ],
    );
}

const KEPT: &str = "open_file_cache max=10 inactive=60s; open_file_cache_valid 60s;";

/// Puts another file in the place of one.
fn replace(server: &Server, path: &str, content: &str) {
    let at = server.path(path);
    server.write("www/new", content);
    std::fs::rename(server.path("www/new"), at).unwrap();
}

#[test]
fn an_open_file_is_sent_again() {
    let server = site(&format!("{KEPT} location /off/ {{ open_file_cache off; alias %%DIR%%/www/real/; }}"));
    for text in ["file", "file"] {
        assert_eq!(server.get("/real/file").text(), text);
        replace(&server, "www/real/file", "new content");
    }
    assert_eq!(server.get("/off/file").text(), "new content");
    assert_eq!(server.get_with("/real/file", "Host: a\r\nRange: bytes=1-2\r\n").text(), "il");
}

#[test]
fn what_is_cached_ages() {
    let server = site("open_file_cache max=10; open_file_cache_valid 0;");
    for text in ["file", "newer", "newest"] {
        replace(&server, "www/real/file", text);
        assert_eq!(server.get("/real/file").text(), text);
    }
}

#[test]
fn missing_files_are_remembered_where_wanted() {
    let server = site(&format!(
        "{KEPT} location /remembered/ {{ open_file_cache_errors on; alias %%DIR%%/www/; }}
         location /asked/ {{ alias %%DIR%%/www/; }}"
    ));
    statuses(&server, &[("/remembered/a", 404), ("/asked/b", 404)]);
    server.write("www/a", "a");
    server.write("www/b", "b");
    statuses(&server, &[("/remembered/a", 404), ("/asked/b", 200)]);
}

#[test]
fn the_cache_knows_the_rules_for_links_apart() {
    let server = site(&format!(
        "{KEPT} location /off/ {{ alias %%DIR%%/www/real/; }}
         location /on/ {{ disable_symlinks on from=%%DIR%%; alias %%DIR%%/www/real/; }}"
    ));
    statuses(&server, &[("/off/link", 200), ("/on/link", 403), ("/off/link", 200), ("/on/link", 403)]);
}

#[test]
fn indexes_and_directories_are_cached_too() {
    let server = site(&format!("{KEPT} open_file_cache_errors on;"));
    for _ in 0..2 {
        statuses(&server, &[("/real/", 200), ("/real", 301), ("/absent/", 404), ("/", 403)]);
    }
}

#[test]
fn a_file_is_kept_open_from_its_second_use_on() {
    let server = site(&format!("{KEPT} open_file_cache_min_uses 2;"));
    // The second request opens the file that is there by then, and leaves it open.
    for (content, text) in [("one", "one"), ("two", "two"), ("six", "two")] {
        replace(&server, "www/real/file", content);
        assert_eq!(server.get("/real/file").text(), text);
    }
}

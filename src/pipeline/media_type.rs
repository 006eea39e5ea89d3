//! The media type that a path stands for, by `types` and `default_type`.

use super::exchange::Exchange;

/// Sets `Content-Type` of the answer by the extension of the path, unless it has one.
pub fn set(x: &mut Exchange) {
    // What led here may have brought a type along (`X-Accel-Redirect`).
    if !x.answer.content_type.is_empty() {
        return;
    }
    let Exchange { here, uri, answer, .. } = x;
    let settings = &here.settings;
    let found = extension(uri).and_then(|extension| match extension.iter().any(u8::is_ascii_uppercase) {
        true => settings.types.get(extension.to_ascii_lowercase().as_slice()),
        false => settings.types.get(extension),
    });
    answer.content_type.clear();
    answer.content_type.extend_from_slice(found.unwrap_or(&settings.default_type));
}

/// What stands behind the last dot of the last segment; a dot that begins it begins no extension.
fn extension(path: &[u8]) -> Option<&[u8]> {
    let segment = path.rsplit(|&byte| byte == b'/').next()?;
    let dot = segment.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
    segment.get(dot + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        for (path, want) in [
            ("/a.html", Some("html")),
            ("/a.tar.GZ", Some("GZ")),
            ("/a.tar.gz", Some("gz")),
            ("/.hidden", None),
            ("/x/.profile.txt", Some("txt")),
            ("/a", None),
            ("", None),
            ("/a.b/c", None),
            ("/a.", Some("")),
            ("/", None),
        ] {
            assert_eq!(extension(path.as_bytes()), want.map(str::as_bytes), "{path}");
        }
    }
}

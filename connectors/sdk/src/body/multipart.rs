//! `multipart/form-data` that is wholly at hand.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// Present for file fields, also when no file was chosen (then empty).
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub bytes: Bytes,
}

/// The body is not readable as the multipart that its Content-Type says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("multipart body not readable: {0}")]
pub struct MultipartError(pub String);

/// Parts in their order; at most `max_parts` of them.
pub fn multipart(content_type: &str, body: &Bytes, max_parts: usize) -> Result<Vec<Part>, MultipartError> {
    let boundary = multer::parse_boundary(content_type).map_err(|e| MultipartError(e.to_string()))?;
    let source = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut form = multer::Multipart::new(source, boundary);
    let read = async {
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await? {
            if parts.len() == max_parts {
                return Ok(Err(MultipartError(format!("more than {max_parts} parts"))));
            }
            let name = field.name().unwrap_or_default().to_owned();
            let file_name = field.file_name().map(str::to_owned);
            let content_type = field.content_type().map(ToString::to_string);
            parts.push(Part { name, file_name, content_type, bytes: field.bytes().await? });
        }
        Ok::<_, multer::Error>(Ok(parts))
    };
    // The source is always ready, so the future completes at its first poll; pending would be an unreadable body.
    match read.now_or_never() {
        Some(Ok(parts)) => parts,
        Some(Err(error)) => Err(MultipartError(error.to_string())),
        None => Err(MultipartError("body ends early".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_files() {
        let body = Bytes::from_static(
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"t.txt\"\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x--\r\n",
        );
        let parts = multipart("multipart/form-data; boundary=x", &body, 10).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[1].file_name.as_deref(), &parts[1].bytes[..]), (Some("t.txt"), &b"hi"[..]));
        assert!(multipart("multipart/form-data; boundary=x", &body, 1).is_err());
        assert!(multipart("multipart/form-data; boundary=x", &body.slice(..body.len() - 20), 10).is_err());
    }
}

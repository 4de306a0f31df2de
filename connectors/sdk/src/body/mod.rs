//! Request bodies that are not JSON.

mod multipart;

pub use multipart::{MultipartError, Part, multipart};

/// Pairs of an `application/x-www-form-urlencoded` body or a query string, decoded, in their order.
pub fn urlencoded(bytes: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

/// The inverse of [`urlencoded`].
pub fn to_urlencoded<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

//! Authentication results as the mail system wrote them (RFC 8601). They are reported, not judged: whoever reads them
//! has to know which authserv-id is its own.

use connector_sdk::schemas::AuthResult;

use crate::header::{Headers, plain};

/// Results beyond this number are left out.
const MAX_RESULTS: usize = 50;
const METHODS: &[&str] = &["spf", "dkim", "dmarc", "arc", "compauth", "iprev"];

/// Every result of Authentication-Results (top-most first) and Received-SPF.
pub fn received(headers: &Headers<'_>) -> Vec<AuthResult> {
    let mut results: Vec<AuthResult> =
        headers.all("authentication-results").flat_map(|raw| one_header(&plain(raw))).collect();
    results.extend(headers.all("received-spf").filter_map(|raw| spf(&plain(raw))));
    results.truncate(MAX_RESULTS);
    results
}

fn one_header(text: &str) -> Vec<AuthResult> {
    let text = without_comments(text);
    let mut pieces = text.split(';').map(str::trim).filter(|piece| !piece.is_empty()).peekable();
    // Some systems leave the authserv-id out: the first token is then a result.
    let authserv_id = pieces
        .next_if(|piece| method(piece).is_none())
        .and_then(|piece| piece.split_whitespace().next().map(str::to_owned));
    pieces
        .filter_map(|piece| {
            let (method, result) = method(piece)?;
            Some(AuthResult {
                method,
                result,
                domain: domain(piece),
                source: "received".to_owned(),
                authserv_id: authserv_id.clone(),
            })
        })
        .collect()
}

/// `spf=pass …` → (`spf`, `pass`).
fn method(piece: &str) -> Option<(String, String)> {
    let (name, rest) = piece.split_once('=')?;
    let name = name.split('/').next().unwrap_or(name).trim().to_ascii_lowercase();
    let result: String =
        rest.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
    (METHODS.contains(&name.as_str()) && !result.is_empty()).then_some((name, result))
}

fn domain(piece: &str) -> Option<String> {
    const NAMES: &[&str] = &["header.d", "smtp.mailfrom", "header.from", "smtp.helo", "header.i"];
    let value = NAMES
        .iter()
        .find_map(|name| piece.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')))?;
    let domain = value.rsplit('@').next().unwrap_or(value).trim_matches(['"', '<', '>', '.']).to_ascii_lowercase();
    (!domain.is_empty()).then_some(domain)
}

/// `Received-SPF: pass (…) client-ip=…; envelope-from="a@b"`.
fn spf(text: &str) -> Option<AuthResult> {
    let outside = without_comments(text);
    let result: String =
        outside.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| !word.is_empty())?.to_ascii_lowercase();
    let from = outside
        .split([';', ' '])
        .find_map(|word| word.trim().strip_prefix("envelope-from="))
        .map(|from| from.trim_matches(['"', '<', '>']));
    let domain = from.and_then(|from| from.rsplit_once('@')).map(|(_, domain)| domain.to_ascii_lowercase());
    Some(AuthResult { method: "spf".to_owned(), result, domain, source: "received".to_owned(), authserv_id: None })
}

fn without_comments(text: &str) -> String {
    let mut depth = 0u32;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::split;

    fn results(mail: &str) -> Vec<(String, String, Option<String>, Option<String>)> {
        let (headers, _) = split(mail.as_bytes());
        received(&headers).into_iter().map(|r| (r.method, r.result, r.domain, r.authserv_id)).collect()
    }

    #[test]
    fn results_of_one_header() {
        let mail = "Authentication-Results: mx.x.example 1;\r\n spf=pass (sender ok; really) smtp.mailfrom=a@b.example;\r\n dkim=pass header.d=B.example; dkim=fail header.i=@c.example;\r\n dmarc=pass header.from=b.example\r\n\r\n";
        let domains: Vec<_> = results(mail).into_iter().map(|r| (r.0, r.1, r.2.unwrap_or_default())).collect();
        let row = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            domains,
            [
                row("spf", "pass", "b.example"),
                row("dkim", "pass", "b.example"),
                row("dkim", "fail", "c.example"),
                row("dmarc", "pass", "b.example"),
            ]
        );
        assert_eq!(results(mail)[0].3.as_deref(), Some("mx.x.example"));
    }

    #[test]
    fn without_an_id_and_with_nothing_checked() {
        let found = results("Authentication-Results: spf=pass smtp.mailfrom=b.example; dkim=none\r\n\r\n");
        assert_eq!((found.len(), found[0].3.clone()), (2, None));
        assert!(results("Authentication-Results: mx.x.example; none\r\n\r\n").is_empty());
        let found = results("Received-SPF: softfail (x) client-ip=1.2.3.4; envelope-from=\"a@b.example\"\r\n\r\n");
        assert_eq!((found[0].1.as_str(), found[0].2.as_deref()), ("softfail", Some("b.example")));
    }
}

//! What is new in a reply: the text without quoted history and signature. Conservative: in doubt nothing is cut, and the
//! whole text is always kept beside it.

/// Texts longer than this are not looked at.
const MAX_TEXT_BYTES: usize = 512 << 10;
/// An attribution line may be folded over so many lines.
const MAX_ATTRIBUTION_LINES: usize = 3;
const MAX_ATTRIBUTION_CHARS: usize = 300;
/// The header block that Outlook puts above the quoted mail has its fields within so many lines.
const OUTLOOK_BLOCK_LINES: usize = 8;

/// Beginning and end of the line above quoted text, by language.
const ATTRIBUTIONS: &[(&str, &str)] = &[
    ("On ", " wrote:"),
    ("Am ", ":"),
    ("Le ", " a écrit :"),
    ("Le ", " a écrit:"),
    ("El ", " escribió:"),
    ("Il ", " ha scritto:"),
    ("Em ", " escreveu:"),
    ("Op ", ":"),
    ("Den ", ":"),
    ("W dniu ", ":"),
    ("Dnia ", ":"),
    ("", " пишет:"),
    ("", " написал:"),
    ("", " написала:"),
    ("", " написал(а):"),
    ("", " пише:"),
    ("", " wrote:"),
    ("", " schrieb:"),
    ("", " 写道："),
    ("", "写道:"),
    ("", " 書きました:"),
];
/// With a bare colon at the end one of these must be in the line.
const ATTRIBUTION_VERBS: &[&str] = &["schrieb", "schreef", "skrev", "napisał", "geschreven"];

/// Lines that begin the quoted mail, without the dashes, lower case.
const SEPARATORS: &[&str] = &[
    "original message",
    "originalnachricht",
    "ursprüngliche nachricht",
    "weitergeleitete nachricht",
    "forwarded message",
    "message d'origine",
    "message original",
    "mensaje original",
    "messaggio originale",
    "mensagem original",
    "oorspronkelijk bericht",
    "пересылаемое сообщение",
    "исходное сообщение",
    "originele bericht",
    "原始邮件",
];

/// Field names of Outlook's block: From, Sent or Date, To, Subject.
const OUTLOOK: [&[&str]; 3] = [
    &["from:", "von:", "de:", "da:", "van:", "от:", "от кого:", "发件人:", "寄件者:", "od:"],
    &[
        "sent:",
        "date:",
        "gesendet:",
        "datum:",
        "envoyé :",
        "envoyé:",
        "enviado:",
        "enviado el:",
        "inviato:",
        "verzonden:",
        "отправлено:",
        "дата:",
        "发送时间:",
        "data:",
    ],
    &[
        "subject:",
        "betreff:",
        "objet :",
        "objet:",
        "asunto:",
        "oggetto:",
        "onderwerp:",
        "тема:",
        "主题:",
        "assunto:",
        "temat:",
    ],
];

/// The new part of a text; `None` where nothing was recognised or nothing would be left.
pub fn reply_only(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let lines: Vec<&str> = text.lines().collect();
    let cut = (0..lines.len()).find(|at| begins_history(&lines[*at..])).unwrap_or(lines.len());
    let (head, tail) = lines.split_at(cut);
    // Text below the quotation is an answer to it (bottom posting, or line by line): then only the quotation goes.
    let kept: Vec<&str> = match below_quotation(tail) {
        Below::Nothing => head.to_vec(),
        Below::Answer(answer) => head.iter().chain(answer).copied().collect(),
        Below::Interleaved => return None,
    };
    let kept = without_trailing_quote(&kept);
    let kept = without_signature(kept);
    let reply = kept.join("\n").trim().to_owned();
    (!reply.is_empty() && reply.len() < text.trim().len()).then_some(reply)
}

fn begins_history(lines: &[&str]) -> bool {
    let first = lines[0].trim();
    separator(first) || attribution(lines).is_some() || outlook_block(lines)
}

/// `-----Original Message-----`, also with other dashes.
fn separator(line: &str) -> bool {
    let bare = line.trim_matches(|c: char| matches!(c, '-' | '_' | '=' | '*' | ' '));
    bare.len() + 4 <= line.len() && SEPARATORS.contains(&bare.to_lowercase().as_str())
}

/// How many lines the attribution takes.
fn attribution(lines: &[&str]) -> Option<usize> {
    let first = lines[0].trim();
    if first.is_empty() || first.starts_with('>') {
        return None;
    }
    let mut joined = String::new();
    for (count, line) in lines.iter().take(MAX_ATTRIBUTION_LINES).enumerate() {
        let line = line.trim();
        if line.is_empty() || joined.len() > MAX_ATTRIBUTION_CHARS {
            return None;
        }
        if count > 0 {
            joined.push(' ');
        }
        joined.push_str(line);
        if is_attribution(&joined, count > 0) && quotation_follows(&lines[count + 1..]) {
            return Some(count + 1);
        }
    }
    None
}

/// `folded`: several lines were joined; then only the languages whose beginning is known are believed.
fn is_attribution(line: &str, folded: bool) -> bool {
    // A date or an address: prose that ends in "wrote:" has neither.
    let dated = line.contains(|c: char| c.is_ascii_digit()) || line.contains('@');
    dated
        && ATTRIBUTIONS.iter().any(|(start, end)| {
            line.starts_with(start)
                && !(folded && start.is_empty())
                && line.ends_with(end)
                && (*end != ":" || ATTRIBUTION_VERBS.iter().any(|verb| line.contains(verb)))
        })
}

/// Quoted lines follow, or (HTML turned into text) anything at all.
fn quotation_follows(lines: &[&str]) -> bool {
    lines.iter().any(|line| !line.trim().is_empty())
}

fn outlook_block(lines: &[&str]) -> bool {
    let field = |line: &str, names: &[&str]| {
        let line = line.trim().trim_start_matches('*').to_lowercase();
        names.iter().any(|name| line.starts_with(name))
    };
    if !field(lines[0], OUTLOOK[0]) {
        return false;
    }
    let block = &lines[1..lines.len().min(OUTLOOK_BLOCK_LINES)];
    OUTLOOK[1..].iter().all(|names| block.iter().any(|line| field(line, names)))
}

enum Below<'a> {
    Nothing,
    Answer(&'a [&'a str]),
    Interleaved,
}

/// What stands below the first `>` block of the history.
fn below_quotation<'a>(tail: &'a [&'a str]) -> Below<'a> {
    let quoted = |line: &&str| line.trim_start().starts_with('>');
    let Some(first) = tail.iter().position(quoted) else { return Below::Nothing };
    // Only an attribution may stand above the block; else the `>` lines are part of the quoted mail.
    if first > MAX_ATTRIBUTION_LINES + 1 {
        return Below::Nothing;
    }
    let end = tail[first..].iter().position(|line| !quoted(line) && !line.trim().is_empty());
    match end {
        None => Below::Nothing,
        Some(end) => {
            let answer = &tail[first + end..];
            if answer.iter().any(quoted) { Below::Interleaved } else { Below::Answer(answer) }
        }
    }
}

fn without_trailing_quote<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let end = lines
        .iter()
        .rposition(|line| !line.trim().is_empty() && !line.trim_start().starts_with('>'))
        .map_or(0, |last| last + 1);
    &lines[..end]
}

/// Cuts at the signature mark of RFC 3676 (`-- `).
fn without_signature<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let mark = lines.iter().position(|line| *line == "-- " || *line == "--");
    &lines[..mark.unwrap_or(lines.len())]
}

/// Where the history begins in HTML, by the marks of the mail programs; `None` where none is found.
pub fn history_in_html(html: &str) -> Option<usize> {
    const MARKS: &[&str] = &[
        "<div class=\"gmail_quote",
        "<div class=gmail_quote",
        "<blockquote class=\"gmail_quote",
        "<div id=\"divrplyfwdmsg\"",
        "<div id=\"appendonsend\"",
        "<div id=\"mail-editor-reference-message-container\"",
        "<blockquote type=\"cite\"",
        "<div class=\"moz-cite-prefix\"",
        "<div class=\"yahoo_quoted\"",
        "<div class=\"protonmail_quote\"",
        "<div name=\"quote\"",
        "<hr tabindex=\"-1\"",
    ];
    if html.len() > MAX_TEXT_BYTES {
        return None;
    }
    let lower = html.to_ascii_lowercase();
    MARKS.iter().filter_map(|mark| lower.find(mark)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_cut() {
        for (text, expected) in [
            ("Thanks!\n\nOn Tue, 14 Nov 2023 at 10:00, Ann <a@x> wrote:\n> old\n> text", "Thanks!"),
            (
                "Thanks!\n\nOn Tue, 14 Nov 2023 at 10:00, A very long name indeed\n<a@x.example> wrote:\n\n> old",
                "Thanks!",
            ),
            ("Danke\n\nAm 14.11.2023 um 10:00 schrieb Ann:\n> alt", "Danke"),
            ("Спасибо\n\n14.11.2023, Анна пишет:\n> старое", "Спасибо"),
            ("OK\n\n-----Original Message-----\nFrom: Ann\nold", "OK"),
            ("OK\n\nFrom: Ann <a@x>\nSent: Tuesday\nTo: Bo\nSubject: Hi\n\nold", "OK"),
            ("OK\n\nVon: Ann\nGesendet: Dienstag\nAn: Bo\nBetreff: Hi\n\nalt", "OK"),
            ("OK\n> old\n> older", "OK"),
            ("OK\n-- \nAnn\nACME", "OK"),
            ("On 14.11.2023 Ann wrote:\n> question?\n\nYes.", "Yes."),
        ] {
            assert_eq!(reply_only(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn nothing_is_cut_in_doubt() {
        for text in [
            "Hello, I wrote:\nsomething",
            "On Monday she wrote:\nnothing with a date",
            "From: my point of view\nthis is fine",
            "> only quoted",
            "On 1.1.2024 Ann wrote:\n> q1\n\na1\n> q2\na2",
            "plain text",
            "",
            "-- \nsignature only",
        ] {
            assert_eq!(reply_only(text), None, "{text}");
        }
    }

    #[test]
    fn html_marks() {
        let html = "<div>Hi</div><div class=\"gmail_quote\">old</div>";
        assert_eq!(history_in_html(html).map(|at| &html[..at]), Some("<div>Hi</div>"));
        assert_eq!(history_in_html("<p>Hi</p>"), None);
    }
}

//! `format=flowed` text (RFC 3676): paragraphs that were broken into lines become one line again.

/// Joins flowed lines. `delete_space`: the parameter `DelSp=yes`, the space at the break is not part of the text.
pub fn unfold(text: &str, delete_space: bool) -> String {
    let mut out: Vec<String> = Vec::new();
    // Depth of the paragraph that the next line may continue.
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let depth = line.chars().take_while(|c| *c == '>').count();
        let content = &line[depth..];
        let content = content.strip_prefix(' ').unwrap_or(content);
        // The signature mark is never joined although it ends in a space.
        let is_mark = content == "-- ";
        let flowed = content.ends_with(' ') && !is_mark;
        let content = if flowed && delete_space { &content[..content.len() - 1] } else { content };
        match (open, out.last_mut()) {
            (Some(before), Some(paragraph)) if before == depth && !is_mark => paragraph.push_str(content),
            _ => {
                let prefix = if depth > 0 { format!("{} ", ">".repeat(depth)) } else { String::new() };
                out.push(format!("{prefix}{content}"));
            }
        }
        open = flowed.then_some(depth);
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs() {
        assert_eq!(unfold("a \nb\nc", false), "a b\nc");
        assert_eq!(unfold("a \nb", true), "ab");
        assert_eq!(unfold(" > stuffed", false), "> stuffed");
        assert_eq!(unfold(">> old \n>> text\n> newer \nmine", false), ">> old text\n> newer \nmine");
        assert_eq!(unfold("hi \n-- \nAnn", false), "hi \n-- \nAnn");
    }
}

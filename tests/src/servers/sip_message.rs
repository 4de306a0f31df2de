//! SIP messages as far as a phone on loopback needs them: a start line, headers, a body.

use std::fmt::Write;

#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Some(Self { start, headers, body: body.to_owned() })
    }

    pub fn request(method: &str, uri: &str) -> Self {
        Self { start: format!("{method} {uri} SIP/2.0"), ..Self::default() }
    }

    /// An answer with the headers that name the transaction and the dialogue.
    pub fn answer_to(request: &Self, status: u16, reason: &str, tag: &str) -> Self {
        let mut answer = Self { start: format!("SIP/2.0 {status} {reason}"), ..Self::default() };
        for (name, value) in &request.headers {
            match name.to_ascii_lowercase().as_str() {
                "via" | "from" | "call-id" | "cseq" | "record-route" => {
                    answer.headers.push((name.clone(), value.clone()))
                }
                "to" if value.contains("tag=") || status == 100 => answer.headers.push((name.clone(), value.clone())),
                "to" => answer.headers.push((name.clone(), format!("{value};tag={tag}"))),
                _ => {}
            }
        }
        answer
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn with_sdp(mut self, rtp_port: u16) -> Self {
        self.body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {rtp_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
        );
        self.with("Content-Type", "application/sdp")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v.as_str())
    }

    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or("")
    }

    /// The status of an answer, 0 for a request.
    pub fn status(&self) -> u16 {
        let mut words = self.start.split(' ');
        if words.next() != Some("SIP/2.0") {
            return 0;
        }
        words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The method that an answer answers.
    pub fn answered_method(&self) -> &str {
        self.header("CSeq").split(' ').nth(1).unwrap_or("")
    }

    /// The address in angle brackets of Contact.
    pub fn contact_uri(&self) -> Option<&str> {
        self.header("Contact").split_once('<')?.1.split_once('>').map(|(uri, _)| uri)
    }

    /// Where the other side wants RTP.
    pub fn rtp_port(&self) -> Option<u16> {
        self.body.split("m=audio ").nth(1)?.split(' ').next()?.parse().ok()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into_bytes()
    }
}

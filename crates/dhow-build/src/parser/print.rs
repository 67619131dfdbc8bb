//! A document as text again: a statement a line.

use super::directives::Directive;
use super::lines::continued;
use super::{Document, Statement};

impl Document {
    /// A text that is read as this document, but for where its statements stand and what warnings there were.
    pub fn print(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let directives = &self.directives;
        for (name, directive) in [
            ("syntax", &directives.syntax),
            ("escape", &directives.escape),
            ("check", &directives.check),
        ] {
            if let Some(Directive { value, .. }) = directive {
                out.extend_from_slice(format!("# {name}={value}\n").as_bytes());
            }
        }
        // A comment that reads like a directive is none after this.
        out.extend_from_slice(b"#\n");
        for statement in &self.statements {
            statement.print(self.escape, &mut out);
        }
        out
    }
}

impl Statement {
    fn print(&self, escape: char, out: &mut Vec<u8>) {
        for comment in &self.comments {
            out.extend_from_slice(format!("# {comment}\n").as_bytes());
        }
        out.extend_from_slice(self.text.as_bytes());
        // Only the last can end like that: the file ended where it was to go on.
        let text = self.text.as_str();
        if text.is_empty() || text.ends_with('\r') || continued(text, escape).is_some() {
            out.extend_from_slice(escape.encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.push(b'\n');
        for heredoc in &self.heredocs {
            out.extend_from_slice(&heredoc.content);
            out.extend_from_slice(heredoc.name.as_bytes());
            out.push(b'\n');
        }
    }
}

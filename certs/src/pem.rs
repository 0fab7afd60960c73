//! A check that PEM text is what its author believes it to be.
//!
//! PEM parsers skip what they don't recognize. A block after a byte order mark or behind an indentation is thus
//! silently left out, and a root or a revocation list that the operator has copied is missing.

use std::fmt;

use data_encoding::BASE64;
use thiserror::Error;

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The kinds of blocks that are used, or that belong to files that are used.
const KINDS: [&str; 11] = [
    "CERTIFICATE",
    "X509 CRL",
    "PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "PUBLIC KEY",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    // `openssl ecparam -genkey` writes it before the key.
    "EC PARAMETERS",
    "DH PARAMETERS",
];

/// Length of a line of base64 (RFC 7468 §2).
const LINE: usize = 64;

/// Encodes a block, such as `CERTIFICATE`.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Maximum length of the first and the last line of a block, together.
const FRAME: usize = 128;

/// Returns the maximum length of what [`encode`] makes of `bytes` in `blocks` blocks.
#[must_use]
pub const fn max_len(bytes: usize, blocks: usize) -> usize {
    // The last group of each block may be padded, and its last line shorter than others.
    let base64 = 4 * (bytes.div_ceil(3) + blocks);
    base64 + base64.div_ceil(LINE) + blocks * (1 + FRAME)
}

/// A line `-----BEGIN …` that a parser would skip.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line} {problem}")]
pub struct PemError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: PemProblem,
}

/// Why a parser would skip a block. Its text continues "line 7 …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemProblem {
    /// The file was saved with a byte order mark.
    ByteOrderMark,
    /// There are spaces or tabs before it.
    Indented,
    /// There is other text before it, such as the end of a block without a line break.
    NotAtStart,
    /// The block before has no end.
    Unended {
        /// The line on which that block begins.
        begun: usize,
    },
    /// The block is of a kind that is not read.
    UnknownKind(String),
}

impl fmt::Display for PemProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => {
                f.write_str("begins with a byte order mark; save the file as UTF-8 without one")
            }
            Self::Indented => f.write_str("is indented; -----BEGIN must be the first text of its line"),
            Self::NotAtStart => {
                f.write_str("has other text before -----BEGIN, which must be the first text of its line")
            }
            Self::Unended { begun } => {
                write!(f, "begins a block before the one of line {begun} has ended; copy the file again")
            }
            Self::UnknownKind(kind) => {
                write!(
                    f,
                    "begins a block of the kind {kind:?}, which is not read; convert it with openssl or remove it"
                )
            }
        }
    }
}

/// Checks that every `-----BEGIN` of a text yields a block.
///
/// # Errors
/// Returns the first line that a parser would skip.
pub fn check(pem: &[u8]) -> Result<(), PemError> {
    let mut open = None;
    for (line, text) in (1..).zip(pem.split(|byte| *byte == b'\n')) {
        let wrong = |problem| Err(PemError { line, problem });
        // Old Mac line ends have no `\n`.
        for text in text.split(|byte| *byte == b'\r') {
            if text.starts_with(END) {
                open = None;
            }
            let Some(at) = text.windows(BEGIN.len()).position(|window| window == BEGIN) else { continue };
            let before = &text[..at];
            if before.starts_with(BYTE_ORDER_MARK) {
                return wrong(PemProblem::ByteOrderMark);
            }
            if !before.is_empty() {
                let is_blank = before.iter().all(u8::is_ascii_whitespace);
                return wrong(if is_blank { PemProblem::Indented } else { PemProblem::NotAtStart });
            }
            if let Some(begun) = open {
                return wrong(PemProblem::Unended { begun });
            }
            let kind = String::from_utf8_lossy(&text[BEGIN.len()..]);
            let kind = kind.trim_matches([' ', '-']);
            if !KINDS.contains(&kind) {
                return wrong(PemProblem::UnknownKind(kind.to_owned()));
            }
            open = Some(line);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn problem(text: &str) -> (usize, PemProblem) {
        let error = check(text.as_bytes()).unwrap_err();
        (error.line, error.problem)
    }

    #[test]
    fn what_a_parser_would_skip_is_reported_with_its_line() {
        assert_eq!(problem(&format!("\u{feff}{BLOCK}")), (1, PemProblem::ByteOrderMark));
        assert_eq!(problem(&format!("{BLOCK}\u{feff}{BLOCK}")), (4, PemProblem::ByteOrderMark));
        assert_eq!(problem(&format!("{BLOCK}\n  {BLOCK}")), (5, PemProblem::Indented));
        assert_eq!(problem(&format!("\t{BLOCK}")), (1, PemProblem::Indented));
        assert_eq!(problem(&format!("{}{BLOCK}", BLOCK.trim_end())), (3, PemProblem::NotAtStart));
        assert_eq!(
            problem(&format!("-----BEGIN CERTIFICATE-----\nAA\n{BLOCK}")),
            (3, PemProblem::Unended { begun: 1 })
        );
        let trusted = BLOCK.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
        assert_eq!(problem(&trusted), (1, PemProblem::UnknownKind("TRUSTED CERTIFICATE".to_owned())));
    }

    #[test]
    fn encoded_blocks_are_no_longer_than_the_maximum() {
        for (bytes, blocks) in [(0, 1), (1, 1), (48, 1), (49, 2), (1_000, 3), (100_000, 4)] {
            let der = vec![0; bytes / blocks];
            let text = encode("X509 CRL", &der).repeat(blocks);
            let most = max_len(bytes, blocks);
            assert!(text.len() <= most && most - text.len() <= blocks * 140, "{bytes} in {blocks}");
        }
    }

    #[test]
    fn comments_and_other_line_ends_are_fine() {
        for text in [
            String::new(),
            BLOCK.repeat(2),
            format!("subject=CN=Souk\n\n{BLOCK}# the second\n{BLOCK}"),
            BLOCK.replace('\n', "\r\n").repeat(2),
            BLOCK.replace('\n', "\r").repeat(2),
        ] {
            check(text.as_bytes()).unwrap();
        }
    }
}

//! Words for a shell, so that printed lines can be pasted. Imports no room.

/// A word as a shell takes it literally; plain ones stay as they are.
#[must_use]
pub(super) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        for (word, shown) in [
            ("orders", "orders"),
            ("/", "/"),
            ("", "''"),
            ("a b", "'a b'"),
            ("^$", "'^$'"),
            ("it's", r"'it'\''s'"),
            ("~x", "'~x'"),
        ] {
            assert_eq!(quoted(word), shown, "{word}");
        }
    }
}

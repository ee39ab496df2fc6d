//! Commands that are printed for a user to run.

use std::path::Path;

/// A path as one word of a shell's command line, to be given to `deeplimit`.
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    // What begins with a dash would be taken for an option.
    let text = if text.starts_with('-') { format!("./{text}").into() } else { text };
    // The one character that no shell can quote cannot be in a path.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |word| word.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_it_must_be() {
        assert_eq!(word(Path::new("runs/digits-001")), "runs/digits-001");
        for path in ["my runs/a b", "it's", "$HOME", "a;b", "-x", "", "~", "100%", "é\"*?"] {
            let words = shlex::split(&word(Path::new(path))).expect("whole words");
            let expected = if path == "-x" { "./-x" } else { path };
            assert_eq!(words, [expected]);
        }
    }
}

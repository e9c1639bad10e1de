//! Tokens and passwords.

use std::fmt;

/// A token, a password or a URL with one, which no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the header or URL that it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which token a download carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Token {
    /// The one of the environment, if there is one.
    #[default]
    Implicit,
    Given(Secret),
    /// One that was given and could not be kept: the one of the environment, if there is one, stands in.
    Lost,
    Never,
}

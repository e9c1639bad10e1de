//! What can go wrong with a request, before a dialect words it.

use std::time::Duration;

use axum::http::StatusCode;

use crate::Error;

/// A request that gets no answer but this.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// What is wrong, and what to change.
    pub(super) message: String,
    /// The field of the request that is wrong, where one is: `input`, `documents[3]`.
    pub(super) parameter: Option<String>,
    /// When it may go better.
    pub(super) retry_after: Option<Duration>,
    /// What there is too little of.
    pub(super) bottleneck: Option<Bottleneck>,
}

/// What a server can have too little of for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bottleneck {
    /// Places in a model's queue.
    Queue,
    /// Memory for the bodies of all requests.
    Bytes,
}

/// Ways in which a client can react to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A body that is no JSON.
    Syntax,
    /// A field with a value, or of a type, that is not accepted.
    Value,
    /// No text where there must be one.
    Empty,
    /// A text with more tokens than the model takes, which is not to be cut.
    TooLong,
    NoKey,
    Forbidden,
    UnknownModel,
    /// A model that cannot do what is asked.
    Unsuited,
    UnknownPath,
    Method,
    MediaType,
    /// A body, or a number of inputs, over the limit.
    TooLarge,
    /// More waits than may.
    Busy,
    /// A body that does not come, or comes too slowly.
    SlowBody,
    /// Loading, draining.
    Unavailable,
    /// Over the time that a request has.
    Late,
    /// The device, or votive.
    Failed,
}

impl FaultKind {
    /// All of them, in their order, which is that of their counts.
    pub(super) const ALL: [Self; 17] = [
        Self::Syntax,
        Self::Value,
        Self::Empty,
        Self::TooLong,
        Self::NoKey,
        Self::Forbidden,
        Self::UnknownModel,
        Self::Unsuited,
        Self::UnknownPath,
        Self::Method,
        Self::MediaType,
        Self::TooLarge,
        Self::Busy,
        Self::SlowBody,
        Self::Unavailable,
        Self::Late,
        Self::Failed,
    ];

    /// The status that all dialects but one give.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Syntax | Self::Value | Self::Empty | Self::TooLong | Self::Unsuited => StatusCode::BAD_REQUEST,
            Self::NoKey => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::UnknownModel | Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Value => "value",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::NoKey => "key",
            Self::Forbidden => "forbidden",
            Self::UnknownModel => "model",
            Self::Unsuited => "unsuited",
            Self::UnknownPath => "path",
            Self::Method => "method",
            Self::MediaType => "media_type",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::SlowBody => "slow_body",
            Self::Unavailable => "unavailable",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

impl Fault {
    pub(super) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), parameter: None, retry_after: None, bottleneck: None }
    }

    /// A field with a value that is not accepted; `message` goes on from the field's name.
    pub(super) fn value(parameter: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let parameter = parameter.into();
        Self::new(FaultKind::Value, format!("{parameter}: {message}")).about(parameter)
    }

    /// What requests get that are not done when the server ends.
    pub(super) fn ending() -> Self {
        Self::new(FaultKind::Unavailable, "the server is ending").retry_after(Duration::from_secs(1))
    }

    /// A model that cannot do what is asked; `message` says what it does, and what to do.
    pub(super) fn unsuited(message: impl std::fmt::Display) -> Self {
        Self::new(FaultKind::Unsuited, format!("model: {message}")).about("model")
    }

    pub(super) fn about(self, parameter: impl Into<String>) -> Self {
        Self { parameter: Some(parameter.into()), ..self }
    }

    /// Of inputs that the request calls `field`: a fault of one of these names it.
    pub(super) fn within(mut self, field: &str) -> Self {
        if let (FaultKind::TooLong, Some(place)) = (self.kind, self.parameter.take_if(|place| place.starts_with('['))) {
            self.message = format!("{field}{place}: {}", self.message);
            self.parameter = Some(format!("{field}{place}"));
        }
        self
    }

    pub(super) fn retry_after(self, time: Duration) -> Self {
        Self { retry_after: Some(time), ..self }
    }

    pub(super) fn because_of(self, bottleneck: Bottleneck) -> Self {
        Self { bottleneck: Some(bottleneck), ..self }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Argument { .. } => FaultKind::Value,
            Error::QueueFull { .. } => FaultKind::Busy,
            // Calls are interrupted by nobody but the server, when it ends.
            Error::Interrupted => return Self::ending(),
            Error::TooLong { position, tokens, limit } => {
                let message = format!("has {tokens} tokens, the model takes {limit}");
                return Self::new(FaultKind::TooLong, message).about(format!("[{position}]"));
            }
            _ => FaultKind::Failed,
        };
        let fault = Self::new(kind, error.message());
        match kind {
            FaultKind::Busy => fault.because_of(Bottleneck::Queue).retry_after(Duration::from_secs(1)),
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_in_their_order() {
        for (place, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{}", kind.name());
        }
    }
}

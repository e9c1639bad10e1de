//! What a request may say of any call: how much of a text is read, which end of it is cut, and how soon.

use crate::Error;
use crate::engine::Request;
use crate::serve::fault::Fault;
use crate::serve::fields::Side;
use crate::serve::served_model::ServedModel;
use crate::text::Truncation;

/// What a request may say of any call.
#[derive(Debug, Default)]
pub(super) struct CallOptions {
    /// Tokens of an input that are read; None for what the model takes.
    pub(super) max_tokens: Option<TokenLimit>,
    /// What becomes of inputs with more.
    pub(super) truncation: Truncation,
    /// See [`Precedence`].
    pub(super) precedence: Precedence,
}

/// Tokens of an input that are read, if the model takes so many.
#[derive(Debug)]
pub(super) struct TokenLimit {
    pub(super) tokens: usize,
    /// What the field is called that says so.
    pub(super) field: &'static str,
}

/// How soon a call is computed while others wait, as Cohere and vLLM count: 0 where nothing is said, more for later.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Precedence(pub(super) i32);

impl Precedence {
    /// One of 1 gets half as many tokens computed as one of 0, one of 2 a third; one of -1 gets twice as many.
    fn priority(self) -> f32 {
        let steps = self.0.unsigned_abs().min(1000) as f32 + 1.0;
        if self.0 > 0 { 1.0 / steps } else { steps }
    }
}

impl CallOptions {
    /// Those of vLLM's fields: tokens of an input, -1 for what the model takes, the side that is cut, and the priority.
    ///
    /// # Errors
    /// A fault where there cannot be so few tokens.
    pub(super) fn of_prompt(tokens: Option<i64>, side: Option<Side>, priority: Option<i32>) -> Result<Self, Fault> {
        let field = "truncate_prompt_tokens";
        let max_tokens = match tokens {
            None | Some(-1) => None,
            Some(tokens) => {
                let tokens = usize::try_from(tokens)
                    .map_err(|_| Fault::value(field, format!("expected 1 or more, or -1, found {tokens}")))?;
                Some(TokenLimit { tokens, field })
            }
        };
        let truncation = match side {
            None => Truncation::OfModel,
            Some(Side::Left) => Truncation::Left,
            Some(Side::Right) => Truncation::Right,
        };
        Ok(Self { max_tokens, truncation, precedence: Precedence(priority.unwrap_or_default()) })
    }

    /// A request of these options.
    pub(super) fn request(&self, model: &ServedModel, prompt: String, normalize: bool) -> Result<Request, Fault> {
        let max_length = match &self.max_tokens {
            None => model.max_length,
            Some(limit) => {
                let own = model.max_tokens()?.unwrap_or(usize::MAX);
                model.routes.max_length(Some(limit.tokens.min(own))).map_err(|error| match error {
                    Error::Argument { message, .. } => Fault::value(limit.field, message),
                    error => error.into(),
                })?
            }
        };
        let priority = self.precedence.priority();
        Ok(Request { prompt, max_length, truncation: self.truncation, normalize, priority, ..Request::default() })
    }
}

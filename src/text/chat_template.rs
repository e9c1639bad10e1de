//! Rendering of chat templates, as transformers' `apply_chat_template` does it with Jinja, here by minijinja.
//!
//! A template is a program of the model's author: it sees only the variables that it is given, and runs for a bounded time.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Display;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, Output, State, context};

use crate::config::ChatTemplateConfig;
use crate::{Error, Result};

/// The most instructions of a rendering, with 64 bytes of text for each: tens of milliseconds.
const MAX_TEMPLATE_INSTRUCTIONS: u64 = 1 << 20;

/// A compiled template.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    location: Location,
    structured: bool,
    special_tokens: BTreeMap<String, String>,
}

/// Where a template stands, for errors.
struct Location {
    file: String,
    key: Option<&'static str>,
}

impl Location {
    fn error(&self, message: impl Display) -> Error {
        match self.key {
            Some(key) => Error::model_key(&self.file, key, message),
            None => Error::model(&self.file, message.to_string()),
        }
    }

    fn unusable(&self, error: &minijinja::Error) -> Error {
        self.error(format_args!("the chat template cannot be used: {error}"))
    }
}

/// One message of a chat: its role ("user", "query", ...) and its text.
pub(super) type ChatMessage<'a> = (&'a str, &'a str);

/// The source of the errors that a template raises itself.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
struct TemplateRaise;

impl ChatTemplate {
    pub(super) fn new(config: &ChatTemplateConfig) -> Result<Self> {
        let location = Location { file: config.file.clone(), key: config.key };
        let refuse = |error: minijinja::Error| location.unusable(&error);
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(refuse)?);
        environment.set_fuel(Some(MAX_TEMPLATE_INSTRUCTIONS));
        environment.set_recursion_limit(64);
        environment.add_function("raise_exception", raise_exception);
        environment.set_formatter(write_as_python);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_template_owned("chat", config.source.clone()).map_err(refuse)?;
        let template = environment.get_template("chat").map_err(refuse)?;
        if template.undeclared_variables(false).contains("task") {
            // "task" tells a template whether a query or a document is encoded.
            return Err(location.error("the chat template asks for the \"task\", which is not supported"));
        }
        Ok(Self { environment, location, structured: config.structured, special_tokens: config.special_tokens.clone() })
    }

    /// What is wrong with the template, as an error that names its file.
    pub(super) fn error(&self, message: impl Display) -> Error {
        self.location.error(message)
    }

    /// The text of some messages; None where the template says that it cannot take these.
    pub(super) fn render(&self, messages: &[ChatMessage]) -> Result<Option<String>> {
        let message = |&(role, text): &ChatMessage| {
            let content = match self.structured {
                true => Value::from(vec![Value::from_pairs([("type", "text"), ("text", text)])]),
                false => Value::from(text),
            };
            Value::from_pairs([("role", Value::from(role)), ("content", content)])
        };
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let variables = context! { messages, add_generation_prompt => false, tools => (), documents => () };
        let variables = context! { ..variables, ..Value::from_pairs(self.special_tokens.clone()) };
        let template = self.environment.get_template("chat").map_err(|error| self.location.unusable(&error))?;
        match template.render(variables) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.source().is_some_and(|source| source.is::<TemplateRaise>()) => Ok(None),
            Err(error) => Err(self.location.unusable(&error)),
        }
    }
}

/// Writes what an expression gives as Python shows it; lists and objects, whose texts would be escaped, are refused.
fn write_as_python(out: &mut Output, _: &mut State, value: &Value) -> std::result::Result<(), minijinja::Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::None => out.write_str("None").map_err(minijinja::Error::from),
        ValueKind::Bool => {
            out.write_str(if value.is_true() { "True" } else { "False" }).map_err(minijinja::Error::from)
        }
        ValueKind::String | ValueKind::Number => write!(out, "{value}").map_err(minijinja::Error::from),
        kind => {
            let message = format!("writes a {kind} as it is; only texts and numbers are supported");
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        }
    }
}

/// A template's own way to fail.
fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message).with_source(TemplateRaise))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, structured: bool) -> Result<Option<String>> {
        let special_tokens = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
        let config = ChatTemplateConfig {
            source: source.to_owned(),
            file: "chat_template.jinja".to_owned(),
            key: None,
            structured,
            special_tokens,
        };
        ChatTemplate::new(&config)?.render(&[("query", "q <b> "), ("document", "d")])
    }

    /// What jinja2 3.1 renders, as transformers sets it up.
    #[test]
    fn templates_are_rendered_as_jinja_renders_them() {
        for (source, structured, expected) in [
            (
                "{% for m in messages %}\n  {% if m.role == 'query' %}\n{{ m.content }}|\n  {% endif %}\n{% endfor %}\n",
                false,
                "q <b> |\n",
            ),
            ("{{ messages[1]['content'] ~ eos_token + 'x' }}{{ bos_token }}", false, "d</s>x"),
            ("{{ messages[0].content[0].text.strip() }} {{ messages | length }}", true, "q <b> 2"),
            ("{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}", false, "d"),
            (
                "{% set ns = namespace(x=1) %}{% for m in messages %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }}",
                false,
                "3",
            ),
            (
                "{%- for m in messages -%} {{ loop.index0 }}{% if loop.last %}{% break %}{% endif %} {%- endfor -%} ",
                false,
                "01",
            ),
            (
                "{{ 'a' if add_generation_prompt else 'b' }}{{ 'c' if tools else 'd' }}{{ messages[::-1][0].role }}",
                false,
                "bddocument",
            ),
            ("{{ tools }}{{ messages[0].role == 'query' }}{{ 3 / 2 }}{{ nothing }}", false, "NoneTrue1.5"),
            ("{{ messages[0].content.split(' ')[1] }}{{ messages[0].get('name', 'none') }}", false, "<b>none"),
        ] {
            assert_eq!(render(source, structured).unwrap().as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_is_refused_in_little_time() {
        for (source, reason) in [
            ("{% for", "unexpected end of"),
            ("{{ strftime_now('%Y') }}", "strftime_now"),
            ("{{ messages | tojson }}", "tojson"),
            ("{{ messages }}", "only texts and numbers"),
            ("{% include 'x' %}", "x"),
            ("{{ messages[0].content.__class__.__mro__ }}", "undefined"),
            ("{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}", "fuel"),
            ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
            ("{{ 'x' * 10 ** 12 }}", "fuel"),
            (
                "{% set ns = namespace(x='xxxxxxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
                "fuel",
            ),
        ] {
            let message = render(source, false).unwrap_err().to_string();
            assert!(message.starts_with("chat_template.jinja: the chat template cannot be used: "), "{message}");
            assert!(message.contains(reason), "{source}: {message}");
        }
        assert_eq!(render("{{ raise_exception('only users speak') }}", false).unwrap(), None);
    }
}

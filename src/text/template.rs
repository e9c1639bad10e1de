//! What is written around texts: the chat template of a folder or, for language models that rerank and bring none that shows a
//! query and a document, the question that they were trained with.

use crate::config::TransformerConfig;
use crate::text::chat::Chat;
use crate::text::inputs::{Input, InputKind};
use crate::text::tokenizer::Tokenizer;
use crate::text::tokens::Tokens;
use crate::{CancelCheck, Error, Result};

/// The text around a text, or around a query and a document.
pub struct Template {
    form: Form,
    /// Before the texts.
    prefix: Vec<u32>,
    /// After them.
    suffix: Vec<u32>,
    answers: Option<[u32; 2]>,
}

/// How the texts follow each other.
enum Form {
    /// Qwen3-Reranker (reference: the example of QwenLM/Qwen3-Embedding): one string, and `max_length` holds the template, too.
    Joined,
    /// mxbai-rerank-v2 (reference: `mxbai_rerank_v2.py` of mixedbread-ai/mxbai-rerank): query and document are tokenized apart, with
    /// these tokens between them, and `max_length` holds nothing but these.
    Apart { separator: Vec<u32> },
    /// A folder's own.
    Chat(Box<Chat>),
}

const QWEN3_PREFIX: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the \
     Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
const QWEN3_SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const QWEN3_INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";

const MXBAI_PREFIX: &str = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
     <|im_start|>user\n";
const MXBAI_SEPARATOR: &str = "\n";
const MXBAI_TASK: &str = "You are a search relevance expert who evaluates how well documents match search queries. For each \
     query-document pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment \
     (0 for not relevant, 1 for relevant).\nRelevance:";
const MXBAI_SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n";

impl Template {
    /// What is written around inputs of this kind; None where they go in as they are. From now on `tokenizer` takes the names of special
    /// tokens in a text for text, where something is written around it: no document can end the question and give the answer.
    pub fn load(config: &TransformerConfig, kind: InputKind, tokenizer: &mut Tokenizer) -> Result<Option<Self>> {
        let chat = config.chat_template.as_ref().map(Chat::new).transpose()?;
        let shows_inputs = match &chat {
            Some(chat) => chat.shows_inputs(kind, config.is_saved)?,
            None => false,
        };
        match (kind, chat.filter(|_| shows_inputs)) {
            (InputKind::Text | InputKind::Pair, None) => Ok(None),
            (InputKind::Question, None) => Self::built_in(&config.architecture.model_type, tokenizer).map(Some),
            (_, Some(chat)) => {
                if kind == InputKind::Question && config.architecture.model_type == "qwen3" && is_qwen3(&chat)? {
                    // The same tokens, of which the first are computed once a query.
                    return Self::built_in("qwen3", tokenizer).map(Some);
                }
                let answers = tokenizer.id("yes").zip(tokenizer.id("no")).map(|(yes, no)| [yes, no]);
                tokenizer.disable_special_tokens();
                Ok(Some(Self { form: Form::Chat(Box::new(chat)), prefix: Vec::new(), suffix: Vec::new(), answers }))
            }
        }
    }

    /// The question of the rerankers that are language models of this `model_type`.
    fn built_in(model_type: &str, tokenizer: &mut Tokenizer) -> Result<Self> {
        let ids = |text: &str| -> Result<Vec<u32>> { Ok(tokenizer.pieces_within(text, usize::MAX, &|| Ok(()))?.0) };
        let template = match model_type {
            "qwen3" => Self {
                form: Form::Joined,
                prefix: ids(QWEN3_PREFIX)?,
                suffix: ids(QWEN3_SUFFIX)?,
                answers: Some([tokenizer.require_id("yes")?, tokenizer.require_id("no")?]),
            },
            "qwen2" => Self {
                form: Form::Apart { separator: ids(MXBAI_SEPARATOR)? },
                prefix: ids(MXBAI_PREFIX)?,
                suffix: [ids(MXBAI_SEPARATOR)?, ids(MXBAI_TASK)?, ids(MXBAI_SUFFIX)?].concat(),
                answers: Some([tokenizer.require_id("1")?, tokenizer.require_id("0")?]),
            },
            _ => {
                let message = format!("{model_type:?} is no language model that reranks; those are: qwen3, qwen2");
                return Err(Error::model_key("config.json", "model_type", message));
            }
        };
        tokenizer.disable_special_tokens();
        Ok(template)
    }

    /// The tokens that say that the document answers the query, and that it does not; None where the tokenizer lacks one.
    pub fn answers(&self) -> Option<[u32; 2]> {
        self.answers
    }

    /// Tokens of the greatest length that are not left for texts.
    pub fn reserved(&self) -> usize {
        match &self.form {
            Form::Joined => self.prefix.len() + self.suffix.len(),
            Form::Apart { separator } => separator.len(),
            Form::Chat(_) => 0,
        }
    }

    /// An input with what is written around it, by the `tokenizer` that the template is made from. Texts are cut to what is left of its
    /// `max_length`; of a query and a document apart, the query to three quarters of that length.
    pub fn tokens(
        &self,
        tokenizer: &Tokenizer,
        input: Input,
        instruction: Option<&str>,
        max_length: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tokens> {
        let (query, document) = match (&self.form, input) {
            (Form::Chat(chat), input) => return chat.tokens(tokenizer, input, instruction, max_length, check_cancel),
            (_, Input::Pair(query, document)) => (query, document),
            (_, Input::Text(_)) => unreachable!("a question is about a pair"),
        };
        let room = max_length.saturating_sub(self.reserved());
        let (body, truncated) = match &self.form {
            Form::Joined => {
                let instruction = instruction.unwrap_or(QWEN3_INSTRUCTION);
                tokenizer.pieces_within(&qwen3_body(instruction, query, document), room, check_cancel)?
            }
            Form::Apart { separator } => {
                let query = match instruction.filter(|instruction| !instruction.is_empty()) {
                    Some(instruction) => format!("instruction: {instruction}\nquery: {query}"),
                    None => format!("query: {query}"),
                };
                let (query, query_cut) =
                    tokenizer.pieces_within(&query, max_length - max_length.div_ceil(4), check_cancel)?;
                let left = room.saturating_sub(query.len());
                let (document, document_cut) =
                    tokenizer.pieces_within(&format!("document: {document}"), left, check_cancel)?;
                ([query.as_slice(), separator, &document].concat(), query_cut || document_cut)
            }
            Form::Chat(_) => unreachable!("a chat template was asked"),
        };
        Ok(Tokens { ids: [self.prefix.as_slice(), &body, &self.suffix].concat(), type_ids: None, truncated })
    }
}

fn qwen3_body(instruction: &str, query: &str, document: &str) -> String {
    format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}")
}

/// Whether a folder's template writes the question of Qwen3-Reranker.
fn is_qwen3(chat: &Chat) -> Result<bool> {
    for instruction in [None, Some("Find out what burns.")] {
        for (query, document) in [("what is wax?", "a fuel\n of candles "), ("", "?")] {
            let body = qwen3_body(instruction.unwrap_or(QWEN3_INSTRUCTION), query, document);
            let expected = [QWEN3_PREFIX, &body, QWEN3_SUFFIX].concat();
            if chat.text(Input::Pair(query, document), instruction)?.as_deref() != Some(&expected) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

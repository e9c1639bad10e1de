//! What is written around texts: the chat template of a folder or, for language models that rerank and bring none that shows a
//! query and a document, the question that they were trained with.

use crate::config::TransformerConfig;
use crate::text::chat::Chat;
use crate::text::inputs::{Input, InputKind};
use crate::text::tokenizer::Tokenizer;
use crate::text::tokens::Tokens;
use crate::text::truncation::LengthLimit;
use crate::{CancelCheck, Error, Result};

/// The text around a text, or around a query and a document.
pub struct Template {
    form: Form,
    /// Before the texts.
    prefix: Vec<u32>,
    /// After them.
    suffix: Vec<u32>,
    answers: Option<Answers>,
}

/// The tokens whose logits make a pair's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// Says that the document answers the query.
    pub yes: u32,
    /// Says that it does not; None where `yes` alone counts.
    pub no: Option<u32>,
}

/// How the texts follow each other.
enum Form {
    /// Qwen3-Reranker (reference: the example of QwenLM/Qwen3-Embedding): one string, and `max_length` holds the template, too.
    Joined,
    /// Query and document are tokenized apart, and `max_length` holds nothing but these, what is between them, and perhaps the prefix.
    Apart(TextsApart),
    /// A folder's own.
    Chat(Box<Chat>),
}

/// mxbai-rerank-v2 (reference: `mxbai_rerank_v2.py` of mixedbread-ai/mxbai-rerank) and bge-reranker-v2-gemma (reference:
/// `FlagLLMReranker` of FlagEmbedding).
struct TextsApart {
    /// Between query and document.
    separator: Vec<u32>,
    /// Before the query and before the document.
    labels: [&'static str; 2],
    /// Whether `max_length` holds the prefix, too.
    counts_prefix: bool,
    /// Whether an instruction takes the place of the question at the end; else it comes before the query.
    asks: bool,
}

const QWEN3_PREFIX: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the \
     Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
const QWEN3_SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const QWEN3_INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";

const MXBAI_PREFIX: &str = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
     <|im_start|>user\n";
/// Between the texts of mxbai-rerank-v2 and bge-reranker-v2-gemma.
const LINE_END: &str = "\n";
const MXBAI_TASK: &str = "You are a search relevance expert who evaluates how well documents match search queries. For each \
     query-document pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment \
     (0 for not relevant, 1 for relevant).\nRelevance:";
const MXBAI_SUFFIX: &str = "<|im_end|>\n<|im_start|>assistant\n";

const GEMMA_PREFIX: &str = "<bos>";
const GEMMA_TASK: &str = "Given a query A and a passage B, determine whether the passage contains an answer to the query by \
     providing a prediction of either 'Yes' or 'No'.";

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
                let answers =
                    tokenizer.id("yes").zip(tokenizer.id("no")).map(|(yes, no)| Answers { yes, no: Some(no) });
                tokenizer.disable_special_tokens();
                Ok(Some(Self { form: Form::Chat(Box::new(chat)), prefix: Vec::new(), suffix: Vec::new(), answers }))
            }
        }
    }

    /// The question of the rerankers that are language models of this `model_type`.
    fn built_in(model_type: &str, tokenizer: &mut Tokenizer) -> Result<Self> {
        let ids =
            |text: &str| -> Result<Vec<u32>> { Ok(tokenizer.pieces_within(text, LengthLimit::NONE, &|| Ok(()))?.0) };
        let answers = |yes: &str, no: Option<&str>| -> Result<Option<Answers>> {
            Ok(Some(Answers {
                yes: tokenizer.require_id(yes)?,
                no: no.map(|no| tokenizer.require_id(no)).transpose()?,
            }))
        };
        let template = match model_type {
            "qwen3" => Self {
                form: Form::Joined,
                prefix: ids(QWEN3_PREFIX)?,
                suffix: ids(QWEN3_SUFFIX)?,
                answers: answers("yes", Some("no"))?,
            },
            "qwen2" => Self {
                form: Form::Apart(TextsApart {
                    separator: ids(LINE_END)?,
                    labels: ["query: ", "document: "],
                    counts_prefix: false,
                    asks: false,
                }),
                prefix: ids(MXBAI_PREFIX)?,
                suffix: [ids(LINE_END)?, ids(MXBAI_TASK)?, ids(MXBAI_SUFFIX)?].concat(),
                answers: answers("1", Some("0"))?,
            },
            "gemma" => Self {
                form: Form::Apart(TextsApart {
                    separator: ids(LINE_END)?,
                    labels: ["A: ", "B: "],
                    counts_prefix: true,
                    asks: true,
                }),
                prefix: vec![tokenizer.require_id(GEMMA_PREFIX)?],
                suffix: [ids(LINE_END)?, ids(GEMMA_TASK)?].concat(),
                answers: answers("Yes", None)?,
            },
            _ => {
                let message =
                    format!("{model_type:?} is no language model that reranks; those are: qwen3, qwen2, gemma");
                return Err(Error::model_key("config.json", "model_type", message));
            }
        };
        tokenizer.disable_special_tokens();
        Ok(template)
    }

    /// The tokens whose logits make a pair's score; None where the tokenizer lacks one.
    pub fn answers(&self) -> Option<Answers> {
        self.answers
    }

    /// Tokens of the greatest length that are not left for texts.
    pub fn reserved(&self) -> usize {
        match &self.form {
            Form::Joined => self.prefix.len() + self.suffix.len(),
            Form::Apart(TextsApart { separator, counts_prefix, .. }) => {
                separator.len() + if *counts_prefix { self.prefix.len() } else { 0 }
            }
            Form::Chat(_) => 0,
        }
    }

    /// An input with what is written around it, by the `tokenizer` that the template is made from. Texts are cut to what is left of
    /// `limit`; of a query and a document apart, the query to three quarters of that.
    pub fn tokens(
        &self,
        tokenizer: &Tokenizer,
        input: Input,
        instruction: Option<&str>,
        limit: LengthLimit,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tokens> {
        let (query, document) = match (&self.form, input) {
            (Form::Chat(chat), input) => return chat.tokens(tokenizer, input, instruction, limit, check_cancel),
            (_, Input::Pair(query, document)) => (query, document),
            (_, Input::Text(_)) => unreachable!("a question is about a pair"),
        };
        let room = limit.tokens.saturating_sub(self.reserved());
        let mut suffix = self.suffix.as_slice();
        let asked;
        let (body, truncated) = match &self.form {
            Form::Joined => {
                let instruction = instruction.unwrap_or(QWEN3_INSTRUCTION);
                let body = qwen3_body(instruction, query, document);
                let limit = limit.with_tokens(room).behind(body.len() - document.len());
                tokenizer.pieces_within(&body, limit, check_cancel)?
            }
            Form::Apart(TextsApart { separator, labels: [query_label, document_label], asks, .. }) => {
                let instruction = instruction.filter(|instruction| !instruction.is_empty());
                let labelled = match instruction {
                    Some(instruction) if !asks => format!("instruction: {instruction}\n{query_label}{query}"),
                    _ => format!("{query_label}{query}"),
                };
                if let Some(instruction) = instruction.filter(|_| *asks) {
                    let question = tokenizer.pieces_within(instruction, LengthLimit::NONE, check_cancel)?.0;
                    asked = [separator.as_slice(), &question].concat();
                    suffix = &asked;
                }
                let most = limit.with_tokens(limit.tokens - limit.tokens.div_ceil(4));
                let (query, query_cut) =
                    tokenizer.pieces_within(&labelled, most.behind(labelled.len() - query.len()), check_cancel)?;
                let left = limit.with_tokens(room.saturating_sub(query.len())).behind(document_label.len());
                let (document, document_cut) =
                    tokenizer.pieces_within(&format!("{document_label}{document}"), left, check_cancel)?;
                ([query.as_slice(), separator, &document].concat(), query_cut || document_cut)
            }
            Form::Chat(_) => unreachable!("a chat template was asked"),
        };
        Ok(Tokens { ids: [self.prefix.as_slice(), &body, suffix].concat(), type_ids: None, truncated })
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

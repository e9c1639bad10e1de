//! How a language model is asked whether a document answers a query: the exact tokens that it was trained with.

use crate::text::{Tokenizer, Tokens};
use crate::{Error, Result};

/// The question around a query and a document.
pub struct Template {
    form: Form,
    /// Before the texts.
    prefix: Vec<u32>,
    /// After them.
    suffix: Vec<u32>,
    answers: [u32; 2],
}

/// How the texts follow each other.
enum Form {
    /// Qwen3-Reranker (reference: the example of QwenLM/Qwen3-Embedding): one string, and `max_length` holds the template, too.
    Joined,
    /// mxbai-rerank-v2 (reference: `mxbai_rerank_v2.py` of mixedbread-ai/mxbai-rerank): query and document are tokenized apart, with
    /// these tokens between them, and `max_length` holds nothing but these.
    Apart { separator: Vec<u32> },
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
    /// The template of the rerankers that are language models of this `model_type`. From now on `tokenizer` takes the names of
    /// special tokens in a text for text: nobody's document ends the question and gives the answer.
    pub fn new(model_type: &str, tokenizer: &mut Tokenizer) -> Result<Self> {
        let ids = |text: &str| -> Result<Vec<u32>> { Ok(tokenizer.pieces_within(text, usize::MAX, &|| Ok(()))?.0) };
        let template = match model_type {
            "qwen3" => Self {
                form: Form::Joined,
                prefix: ids(QWEN3_PREFIX)?,
                suffix: ids(QWEN3_SUFFIX)?,
                answers: [tokenizer.require_id("yes")?, tokenizer.require_id("no")?],
            },
            "qwen2" => Self {
                form: Form::Apart { separator: ids(MXBAI_SEPARATOR)? },
                prefix: ids(MXBAI_PREFIX)?,
                suffix: [ids(MXBAI_SEPARATOR)?, ids(MXBAI_TASK)?, ids(MXBAI_SUFFIX)?].concat(),
                answers: [tokenizer.require_id("1")?, tokenizer.require_id("0")?],
            },
            _ => {
                let message =
                    format!("model_type: {model_type:?} is no language model that reranks; those are: qwen3, qwen2");
                return Err(Error::model("config.json", message));
            }
        };
        tokenizer.take_literally();
        Ok(template)
    }

    /// The tokens that say that the document answers the query, and that it does not.
    pub fn answers(&self) -> [u32; 2] {
        self.answers
    }

    /// Of the greatest length, what is not left for texts.
    pub fn reserved(&self) -> usize {
        match &self.form {
            Form::Joined => self.prefix.len() + self.suffix.len(),
            Form::Apart { separator } => separator.len(),
        }
    }

    /// The question whether `document` answers `query`, by the `tokenizer` that the template is made from. The texts are cut to what
    /// is left of its greatest length; of a query and a document apart, the query to three quarters of that length.
    pub fn tokens(
        &self,
        tokenizer: &Tokenizer,
        query: &str,
        document: &str,
        instruction: Option<&str>,
        pulse: &dyn Fn() -> Result<()>,
    ) -> Result<Tokens> {
        let max_length = tokenizer.max_length().unwrap_or(usize::MAX);
        let room = max_length.saturating_sub(self.reserved());
        let (body, truncated) = match &self.form {
            Form::Joined => {
                let instruction = instruction.unwrap_or(QWEN3_INSTRUCTION);
                let body = format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}");
                tokenizer.pieces_within(&body, room, pulse)?
            }
            Form::Apart { separator } => {
                let query = match instruction.filter(|instruction| !instruction.is_empty()) {
                    Some(instruction) => format!("instruction: {instruction}\nquery: {query}"),
                    None => format!("query: {query}"),
                };
                let (query, query_cut) = tokenizer.pieces_within(&query, max_length - max_length.div_ceil(4), pulse)?;
                let left = room.saturating_sub(query.len());
                let (document, document_cut) =
                    tokenizer.pieces_within(&format!("document: {document}"), left, pulse)?;
                ([query.as_slice(), separator, &document].concat(), query_cut || document_cut)
            }
        };
        Ok(Tokens { ids: [self.prefix.as_slice(), &body, &self.suffix].concat(), type_ids: None, truncated })
    }
}

//! The names of transformers' tokenizer classes: which a model has, and which of them votive makes.

/// The classes that votive makes, by every name that transformers has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClassName {
    Bert,
    Mpnet,
    Roberta,
    XlmRoberta,
    Camembert,
    DebertaV2,
    Qwen2,
    T5,
}

impl ClassName {
    /// The class that transformers calls `name`; `None` for one that votive does not make.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BertTokenizer"
            | "DistilBertTokenizer"
            | "ElectraTokenizer"
            | "LayoutLMTokenizer"
            | "LxmertTokenizer"
            | "MobileBertTokenizer"
            | "SqueezeBertTokenizer" => Self::Bert,
            "MPNetTokenizer" => Self::Mpnet,
            "RobertaTokenizer" | "BartTokenizer" | "LEDTokenizer" | "LongformerTokenizer" | "MvpTokenizer" => {
                Self::Roberta
            }
            "XLMRobertaTokenizer" => Self::XlmRoberta,
            "CamembertTokenizer" => Self::Camembert,
            "DebertaV2Tokenizer" => Self::DebertaV2,
            "Qwen2Tokenizer" => Self::Qwen2,
            "T5Tokenizer" => Self::T5,
            _ => return None,
        })
    }

    /// The tokens that the class has where no file names others.
    pub(super) fn defaults(self) -> &'static [(&'static str, &'static str)] {
        const FAIRSEQ: [(&str, &str); 7] = [
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
            ("sep_token", "</s>"),
            ("pad_token", "<pad>"),
            ("cls_token", "<s>"),
            ("mask_token", "<mask>"),
        ];
        match self {
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Self::Mpnet => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "[UNK]"),
                ("sep_token", "</s>"),
                ("pad_token", "<pad>"),
                ("cls_token", "<s>"),
                ("mask_token", "<mask>"),
            ],
            Self::Roberta | Self::XlmRoberta | Self::Camembert => &FAIRSEQ,
            Self::DebertaV2 => &[
                ("bos_token", "[CLS]"),
                ("eos_token", "[SEP]"),
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Self::T5 => &[("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")],
            Self::Qwen2 => {
                &[("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"), ("pad_token", "<|endoftext|>")]
            }
        }
    }
}

/// The name of the class that transformers takes for `model_type` where `named` is what the files name; "" for the one that
/// reads any file.
pub(super) fn class_name<'a>(model_type: &str, named: Option<&'a str>) -> &'a str {
    // What repositories name for these is known to be wrong.
    match (model_type, named) {
        ("modernbert" | "modernbert-decoder", _) => "",
        ("qwen2", _) => "Qwen2Tokenizer",
        (_, Some(name)) => name.strip_suffix("Fast").unwrap_or(name),
        (_, None) => default_class_name(model_type),
    }
}

fn default_class_name(model_type: &str) -> &'static str {
    match model_type {
        "bert" | "convbert" | "distilbert" | "electra" | "ernie" | "megatron-bert" | "nomic_bert" | "squeezebert" => {
            "BertTokenizer"
        }
        "mpnet" => "MPNetTokenizer",
        "roberta" => "RobertaTokenizer",
        "xlm-roberta" | "jina_embeddings_v3" => "XLMRobertaTokenizer",
        "camembert" => "CamembertTokenizer",
        "deberta-v2" => "DebertaV2Tokenizer",
        "qwen3" => "Qwen2Tokenizer",
        "t5" => "T5Tokenizer",
        _ => "",
    }
}

/// Classes that transformers makes otherwise than their tokenizer.json says, or in Python, and votive does not.
const UNSUPPORTED: &[&str] = &[
    "AlbertTokenizer",
    "BarthezTokenizer",
    "BartphoTokenizer",
    "BertGenerationTokenizer",
    "BertJapaneseTokenizer",
    "BertweetTokenizer",
    "BigBirdTokenizer",
    "BioGptTokenizer",
    "BlenderbotSmallTokenizer",
    "BlenderbotTokenizer",
    "ByT5Tokenizer",
    "CLIPTokenizer",
    "CTRLTokenizer",
    "CanineTokenizer",
    "ClvpTokenizer",
    "CodeGenTokenizer",
    "CodeLlamaTokenizer",
    "CohereTokenizer",
    "CpmAntTokenizer",
    "CpmTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRReaderTokenizer",
    "DebertaTokenizer",
    "DiaTokenizer",
    "EsmTokenizer",
    "EsmcTokenizer",
    "FNetTokenizer",
    "FSMTTokenizer",
    "FastSpeech2ConformerTokenizer",
    "FlaubertTokenizer",
    "FunnelTokenizer",
    "GPT2Tokenizer",
    "GPTNeoXJapaneseTokenizer",
    "GPTNeoXTokenizer",
    "GPTSw3Tokenizer",
    "GemmaTokenizer",
    "HerbertTokenizer",
    "LasrTokenizer",
    "LayoutLMv2Tokenizer",
    "LayoutLMv3Tokenizer",
    "LayoutXLMTokenizer",
    "LlamaTokenizer",
    "LukeTokenizer",
    "M2M100Tokenizer",
    "MBart50Tokenizer",
    "MBartTokenizer",
    "MLukeTokenizer",
    "MarianTokenizer",
    "MarkupLMTokenizer",
    "MgpstrTokenizer",
    "MyT5Tokenizer",
    "NllbTokenizer",
    "NougatTokenizer",
    "OpenAIGPTTokenizer",
    "PLBartTokenizer",
    "PegasusTokenizer",
    "PerceiverTokenizer",
    "Phi3Tokenizer",
    "PhobertTokenizer",
    "ProphetNetTokenizer",
    "Qwen3_5Tokenizer",
    "ReformerTokenizer",
    "RemBertTokenizer",
    "RoCBertTokenizer",
    "RoFormerTokenizer",
    "SeamlessM4TTokenizer",
    "Siglip2Tokenizer",
    "SiglipTokenizer",
    "Speech2TextTokenizer",
    "SpeechT5Tokenizer",
    "SplinterTokenizer",
    "TapasTokenizer",
    "Tipsv2Tokenizer",
    "UdopTokenizer",
    "VideoPrismTokenizer",
    "VitsTokenizer",
    "Wav2Vec2CTCTokenizer",
    "Wav2Vec2PhonemeCTCTokenizer",
    "WhisperTokenizer",
    "XGLMTokenizer",
    "XLMTokenizer",
    "XLNetTokenizer",
];

/// Whether transformers has a class `name` that votive does not make.
pub(super) fn is_unsupported(name: &str) -> bool {
    UNSUPPORTED.contains(&name)
}

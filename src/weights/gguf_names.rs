//! From the names of a GGUF file's tensors to those of transformers (llama.cpp's `gguf-py/gguf/tensor_mapping.py`).
//!
//! A name is `PART.weight` or `PART.bias`, and `blk.N.PART.weight` in layer N. Which names transformers has for the parts depends on
//! the `model_type` of config.json: DistilBERT, RoBERTa and BERT are one architecture of llama.cpp's. And it depends on the
//! architecture: jina v2 is a "bert" to transformers, and its models for text and for code are one to llama.cpp, which wrote the two
//! halves of their gated blocks apart once.

/// Names of the parts of a network.
pub(super) struct PartNames {
    /// Of config.json.
    pub(super) model_types: &'static [&'static str],
    /// `general.architecture`
    pub(super) architectures: &'static [&'static str],
    /// Parts of the first layer by which a network is told from those that come after it here.
    told_by: &'static [&'static str],
    /// Outside of the layers.
    network: &'static [NamePair],
    /// What transformers has before the number of a layer.
    layers: &'static str,
    /// Of a layer, in parts that several networks have.
    layer: &'static [&'static [NamePair]],
    pub(super) difference: Difference,
}

/// The name of a part in the file, and in transformers; "" where transformers makes it itself.
type NamePair = (&'static str, &'static str);

/// In what numbers differ from those of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    None,
    /// The table of positions lacks the rows up to that of the padding token.
    Positions,
    /// Rows of queries and keys are interleaved.
    Interleaved,
    /// Norms have 1 + weight.
    Norms,
}

/// The networks whose names are known.
pub(super) const KNOWN: [PartNames; 13] = [
    PartNames {
        model_types: &["bert"],
        architectures: &["bert"],
        told_by: &[],
        network: &[WORDS, POSITIONS, TYPES, EMBEDDING_NORM, ("cls", "pooler.dense"), CLASSIFIER],
        layers: "encoder.layer",
        layer: &[BERT_ATTENTION, BERT_MLP],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["roberta", "xlm-roberta", "camembert"],
        architectures: &["bert"],
        told_by: &[],
        network: &[
            WORDS,
            POSITIONS,
            TYPES,
            EMBEDDING_NORM,
            ("cls", "classifier.dense"),
            ("cls.output", "classifier.out_proj"),
        ],
        layers: "encoder.layer",
        layer: &[BERT_ATTENTION, BERT_MLP],
        difference: Difference::Positions,
    },
    PartNames {
        model_types: &["distilbert"],
        architectures: &["bert"],
        told_by: &[],
        network: &[WORDS, POSITIONS, EMBEDDING_NORM, ("cls", "pre_classifier"), CLASSIFIER],
        layers: "transformer.layer",
        layer: &[&[
            ("attn_q", "attention.q_lin"),
            ("attn_k", "attention.k_lin"),
            ("attn_v", "attention.v_lin"),
            ("attn_output", "attention.out_lin"),
            ("attn_output_norm", "sa_layer_norm"),
            ("ffn_up", "ffn.lin1"),
            ("ffn_down", "ffn.lin2"),
            ("layer_output_norm", "output_layer_norm"),
        ]],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["nomic_bert"],
        architectures: &["nomic-bert"],
        told_by: &[],
        network: &[WORDS, TYPES, ("token_embd_norm", "emb_ln")],
        layers: "encoder.layers",
        layer: &[NOMIC_ATTENTION, &[("ffn_up", "mlp.fc11"), ("ffn_gate", "mlp.fc12"), ("ffn_down", "mlp.fc2")]],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["nomic_bert"],
        architectures: &["nomic-bert-moe"],
        told_by: &[],
        network: &[WORDS, TYPES, ("token_embd_norm", "emb_ln")],
        layers: "encoder.layers",
        layer: &[
            NOMIC_ATTENTION,
            &[
                ("ffn_up", "mlp.fc1"),
                ("ffn_down", "mlp.fc2"),
                ("ffn_gate_inp", "mlp.router.layer"),
                (EXPERTS_UP, "mlp.experts.mlp.w1"),
                (EXPERTS_DOWN, "mlp.experts.mlp.w2_transposed"),
            ],
        ],
        difference: Difference::None,
    },
    jina(&["attn_norm_2", "ffn_gate"], &[BERT_ATTENTION, JINA_HALVES, JINA_CODE]),
    jina(&["attn_norm_2"], &[BERT_ATTENTION, &[("ffn_up", "mlp.up_gated_layer")], JINA_CODE]),
    jina(&["ffn_gate"], &[BERT_ATTENTION, JINA_HALVES, JINA_TEXT]),
    jina(&[], &[BERT_ATTENTION, &[("ffn_up", "mlp.gated_layers")], JINA_TEXT]),
    PartNames {
        model_types: &["modernbert"],
        architectures: &["modern-bert"],
        told_by: &[],
        network: &[
            ("token_embd", "embeddings.tok_embeddings"),
            ("token_embd_norm", "embeddings.norm"),
            ("output_norm", "final_norm"),
            ("cls", "head.dense"),
            ("cls.norm", "head.norm"),
            CLASSIFIER,
        ],
        layers: "layers",
        layer: &[&[
            ("attn_norm", "attn_norm"),
            ("attn_qkv", "attn.Wqkv"),
            ("attn_output", "attn.Wo"),
            ("ffn_norm", "mlp_norm"),
            ("ffn_up", "mlp.Wi"),
            ("ffn_down", "mlp.Wo"),
        ]],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["qwen3", "qwen2"],
        architectures: &["qwen3", "qwen2"],
        told_by: &[],
        network: DECODER,
        layers: "layers",
        layer: DECODER_LAYER,
        difference: Difference::None,
    },
    PartNames {
        model_types: &["llama", "mistral"],
        architectures: &["llama"],
        told_by: &[],
        network: DECODER,
        layers: "layers",
        layer: DECODER_LAYER,
        difference: Difference::Interleaved,
    },
    PartNames {
        model_types: &["gemma3_text"],
        architectures: &["gemma-embedding", "gemma3"],
        told_by: &[],
        network: DECODER,
        layers: "layers",
        layer: &[
            DECODER_BLOCKS,
            &[
                ("post_attention_norm", "post_attention_layernorm"),
                ("ffn_norm", "pre_feedforward_layernorm"),
                ("post_ffw_norm", "post_feedforward_layernorm"),
            ],
        ],
        difference: Difference::Norms,
    },
];

/// A jina v2 with such parts of its layers.
const fn jina(told_by: &'static [&'static str], layer: &'static [&'static [NamePair]]) -> PartNames {
    PartNames {
        model_types: &["bert"],
        architectures: &["jina-bert-v2"],
        told_by,
        network: &[WORDS, TYPES, EMBEDDING_NORM],
        layers: "encoder.layer",
        layer,
        difference: Difference::None,
    }
}

/// Matrices of all experts of a layer in one tensor; of the last kind each is transposed to what transformers has.
pub(super) const EXPERTS_UP: &str = "ffn_up_exps";
pub(super) const EXPERTS_DOWN: &str = "ffn_down_exps";

/// Dense modules whose tensors a file has among the network's: their subfolder, and the names of the part by llama.cpp and by Ollama.
pub(crate) const DENSE_PARTS: [(&str, [&str; 2]); 2] =
    [("2_Dense", ["dense_2", "dense.0"]), ("3_Dense", ["dense_3", "dense.1"])];

const WORDS: NamePair = ("token_embd", "embeddings.word_embeddings");
const POSITIONS: NamePair = ("position_embd", "embeddings.position_embeddings");
const TYPES: NamePair = ("token_types", "embeddings.token_type_embeddings");
const EMBEDDING_NORM: NamePair = ("token_embd_norm", "embeddings.LayerNorm");
const CLASSIFIER: NamePair = ("cls.output", "classifier");

const BERT_ATTENTION: &[NamePair] = &[
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
];

const BERT_MLP: &[NamePair] =
    &[("ffn_up", "intermediate.dense"), ("ffn_down", "output.dense"), ("layer_output_norm", "output.LayerNorm")];

const NOMIC_ATTENTION: &[NamePair] = &[
    ("attn_qkv", "attn.Wqkv"),
    ("attn_output", "attn.out_proj"),
    ("attn_output_norm", "norm1"),
    ("layer_output_norm", "norm2"),
];

/// Of jina's models for text, behind the products into a gated block, and of the one for code.
const JINA_TEXT: &[NamePair] = &[("ffn_down", "mlp.wo"), ("layer_output_norm", "mlp.layernorm")];
const JINA_CODE: &[NamePair] = &[
    ("attn_q_norm", "attention.self.layer_norm_q"),
    ("attn_k_norm", "attention.self.layer_norm_k"),
    ("attn_norm_2", "layer_norm_1"),
    ("ffn_down", "mlp.down_layer"),
    ("layer_output_norm", "layer_norm_2"),
];
/// The halves of a gated block as llama.cpp's converter named them when it wrote each by itself.
const JINA_HALVES: &[NamePair] = &[("ffn_gate", "mlp.gated_layers_w"), ("ffn_up", "mlp.gated_layers_v")];

const DECODER: &[NamePair] = &[
    ("token_embd", "embed_tokens"),
    ("output_norm", "norm"),
    ("output", "lm_head"),
    ("cls.output", "score"),
    // Modules of their own in transformers: `DENSE_PARTS`.
    ("dense_2", ""),
    ("dense_3", ""),
    ("dense.0", ""),
    ("dense.1", ""),
    // Made of config.json's rope_scaling.
    ("rope_freqs", ""),
];

const DECODER_LAYER: &[&[NamePair]] = &[DECODER_BLOCKS, &[("ffn_norm", "post_attention_layernorm")]];

/// A decoder's layer without the norms that Gemma has more of.
const DECODER_BLOCKS: &[NamePair] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl PartNames {
    /// Those of models with this `model_type`, architecture and parts of the first layer.
    pub(super) fn of(model_type: &str, architecture: &str, has_part: impl Fn(&str) -> bool) -> Option<&'static Self> {
        KNOWN.iter().find(|names| {
            names.model_types.contains(&model_type)
                && names.architectures.contains(&architecture)
                && names.told_by.iter().all(|part| has_part(part))
        })
    }

    /// The part that a tensor is of, and transformers' name of the tensor, which is "" for one that it does not have.
    pub(super) fn tensor<'a>(&self, name: &'a str) -> Option<(&'a str, String)> {
        let (path, kind) = name.rsplit_once('.').filter(|(_, kind)| ["weight", "bias"].contains(kind))?;
        let find = |parts: &[&[NamePair]], part: &str| {
            parts.iter().copied().flatten().find(|(known, _)| *known == part).map(|&(_, own)| own)
        };
        let (part, path) = match path.strip_prefix("blk.") {
            Some(rest) => {
                let (number, part) = rest.split_once('.')?;
                let own = find(self.layer, part).filter(|_| number.bytes().all(|digit| digit.is_ascii_digit()))?;
                (part, format!("{}.{number}.{own}", self.layers))
            }
            None => (path, find(&[self.network], path)?.to_owned()),
        };
        // Transformers' experts are no modules, whose tensors are a weight and a bias.
        let is_whole = path.is_empty() || [EXPERTS_UP, EXPERTS_DOWN].contains(&part);
        Some((part, if is_whole { path } else { format!("{path}.{kind}") }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for (architecture, model_type, name, expected) in [
            ("bert", "bert", "token_embd.weight", Some("embeddings.word_embeddings.weight")),
            ("bert", "bert", "blk.11.attn_q.bias", Some("encoder.layer.11.attention.self.query.bias")),
            ("bert", "bert", "blk.1.attn_q_norm.weight", None),
            ("bert", "bert", "blk.x.attn_q.bias", None),
            ("bert", "bert", "blk.1.attn_q.scale", None),
            ("bert", "bert", "output.weight", None),
            ("bert", "distilbert", "blk.0.ffn_down.weight", Some("transformer.layer.0.ffn.lin2.weight")),
            ("bert", "xlm-roberta", "cls.output.bias", Some("classifier.out_proj.bias")),
            ("nomic-bert", "nomic_bert", "blk.3.ffn_gate.weight", Some("encoder.layers.3.mlp.fc12.weight")),
            ("nomic-bert-moe", "nomic_bert", "blk.2.ffn_up.bias", Some("encoder.layers.2.mlp.fc1.bias")),
            (
                "nomic-bert-moe",
                "nomic_bert",
                "blk.1.ffn_down_exps.weight",
                Some("encoder.layers.1.mlp.experts.mlp.w2_transposed"),
            ),
            ("modern-bert", "modernbert", "cls.norm.weight", Some("head.norm.weight")),
            ("qwen3", "qwen3", "blk.0.ffn_norm.weight", Some("layers.0.post_attention_layernorm.weight")),
            ("gemma3", "gemma3_text", "blk.0.ffn_norm.weight", Some("layers.0.pre_feedforward_layernorm.weight")),
            ("gemma3", "gemma3_text", "dense.1.weight", Some("")),
            ("llama", "llama", "rope_freqs.weight", Some("")),
            ("jina-bert-v2", "bert", "blk.0.ffn_up.weight", Some("encoder.layer.0.mlp.gated_layers.weight")),
            ("jina-bert-v2", "bert", "position_embd.weight", None),
        ] {
            let names = PartNames::of(model_type, architecture, |_| false).unwrap();
            let found = names.tensor(name).map(|(_, name)| name);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        assert!(PartNames::of("mpnet", "bert", |_| true).is_none());
        assert!(PartNames::of("bert", "nomic-bert", |_| true).is_none());
    }

    #[test]
    fn jinas_networks_are_told_by_their_parts() {
        for (parts, expected) in [
            (&["attn_norm_2", "ffn_gate"][..], "mlp.gated_layers_v"),
            (&["attn_norm_2"], "mlp.up_gated_layer"),
            (&["ffn_gate"], "mlp.gated_layers_v"),
            (&[], "mlp.gated_layers"),
        ] {
            let names = PartNames::of("bert", "jina-bert-v2", |part| parts.contains(&part)).unwrap();
            let found = names.tensor("blk.7.ffn_up.weight").unwrap().1;
            assert_eq!(found, format!("encoder.layer.7.{expected}.weight"));
            assert_eq!(names.tensor("blk.7.attn_q_norm.bias").is_some(), parts.contains(&"attn_norm_2"));
        }
    }
}

//! Every kernel in the languages of the three interfaces. Needs no device, so that what Metal and Direct3D get has been
//! seen where neither is.

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::activation::tests::ALL;
use super::attention::AttentionForm;
use super::element::ElementOperation;
use super::norm::{NormForm, NormKind};
use super::product::ProductTypes;
use super::score_bias::Terms;
use super::weights::WeightType;
use super::{
    attention, columns, element, gather, mean, norm, product, read_back, reshape, rotation, row_upload, scatter,
};
use crate::gpu::device_rows::Number;
use crate::gpu::recording::canary;
use crate::kernels::{Activation, AttentionShape, Mask};

/// All kernels, in all their forms; of activations and heads, some in each.
fn sources() -> Vec<(String, String)> {
    let mut all = vec![("canary".to_owned(), canary())];
    for number in [Number::F32, Number::F16] {
        let mut add = |name: &str, source: String| all.push((format!("{name} {number:?}"), source));
        let of_number = [
            row_upload::source,
            read_back::source,
            gather::source,
            columns::source,
            mean::source,
            rotation::source,
            scatter::source,
        ];
        of_number.into_iter().for_each(|source| add("rows", source(number)));
        for operation in [
            ElementOperation::Add,
            ElementOperation::Subtract,
            ElementOperation::Multiply,
            ElementOperation::Scale(2.0),
        ] {
            add(&format!("{operation:?}"), element::source(number, operation));
        }
        for kind in [NormKind::Layer, NormKind::RootMeanSquare] {
            for form in [NormForm::Plain, NormForm::WithResidual, NormForm::InPlace] {
                add(&format!("{kind:?} {form:?}"), norm::source(number, kind, form));
            }
        }
        for to in [Number::F32, number] {
            add(&format!("reshape {to:?}"), reshape::source(number, to));
        }
        for weights in WeightType::ALL {
            for is_gated in [false, true] {
                let types = ProductTypes { states: number, weights };
                add(&format!("product {weights:?}"), product::source(types, Activation::Gelu, is_gated));
            }
        }
        for activation in ALL {
            let types = ProductTypes { states: number, weights: WeightType::F32 };
            add(&format!("{activation:?}"), product::source(types, activation, false));
        }
        let terms = [(true, true), (true, false), (false, true)];
        let terms = terms.map(|(of_queries, of_keys)| Terms { rows: 7, of_queries, of_keys });
        let forms = [AttentionForm::Plain, AttentionForm::Bias, AttentionForm::Past];
        let forms: Vec<_> = forms.into_iter().chain(terms.map(AttentionForm::Disentangled)).collect();
        for (head_dim, form) in
            [13, 32, 64, 128, 256].into_iter().flat_map(|dim| forms.iter().map(move |&form| (dim, form)))
        {
            let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim, scale: 1.0, mask: Mask::Full };
            add(&format!("attention {head_dim} {form:?}"), attention::source(number, &shape, form));
        }
    }
    all
}

#[test]
fn kernels_are_valid_and_translate_to_every_language() {
    for (name, source) in sources() {
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        let capabilities =
            Capabilities::IMMEDIATES | Capabilities::SHADER_FLOAT16 | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));

        let words = spv::write_vec(&module, &info, &spv::Options::default(), None);
        assert!(!words.unwrap_or_else(|error| panic!("{name}: {error}")).is_empty());

        let slot = |binding| naga::ResourceBinding { group: 0, binding };
        let buffer = |binding| msl::BindTarget { buffer: Some(binding as u8), mutable: true, ..Default::default() };
        let resources = msl::EntryPointResources {
            resources: (0..5).map(|binding| (slot(binding), buffer(binding))).collect(),
            immediates_buffer: Some(5),
            sizes_buffer: Some(6),
        };
        let options = msl::Options {
            lang_version: (2, 4),
            per_entry_point_map: [("main".to_owned(), resources)].into_iter().collect(),
            fake_missing_bindings: false,
            ..Default::default()
        };
        let metal = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default());
        let (text, translated) = metal.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains("kernel void") && translated.entry_point_names.iter().all(Result::is_ok), "{name}");

        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_2,
            immediates_target: Some(hlsl::BindTarget { register: 5, ..Default::default() }),
            ..Default::default()
        };
        let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        let translated = written.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(translated.entry_point_names.iter().all(Result::is_ok), "{name}");
        assert!(text.contains("numthreads"), "{name}");
    }
}

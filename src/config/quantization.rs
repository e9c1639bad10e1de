//! What config.json says of quantized weights.
//!
//! ```text
//! quantization: {bits, group_size, mode, MODULE: the same or false}      MLX; old files have no mode, some a copy under the next key
//! quantization_config: {quant_method: "gptq", bits, checkpoint_format}
//!                      {quant_method: "awq", bits, version}
//!                      {quant_method: "compressed-tensors", config_groups: {NAME: {weights: {num_bits}}}}
//! ```

use crate::config::Object;
use crate::weights::{Affine, MicroKind, MlxScheme, Quantization, QuantizationMethod};
use crate::{Error, Result};

const MLX_KEY: &str = "quantization";
const KEY: &str = "quantization_config";

/// How the weights beside `config` are quantized; None where it says nothing of it.
///
/// # Errors
/// [`Error::Model`] where it names a method that is not read.
pub(super) fn read(config: &Object) -> Result<Option<Quantization>> {
    let found = |method| Ok(Some(Quantization { source: config.name().to_owned(), method }));
    if let Some(file) = config.object(MLX_KEY)? {
        return found(mlx(&file)?);
    }
    let Some(file) = config.object(KEY)? else { return Ok(None) };
    match file.text("quant_method")? {
        // It quantizes ordinary weights while they are loaded; what it saved is no float, and is refused as such.
        Some("bitsandbytes") => Ok(None),
        None if file.contains("group_size") => found(mlx(&file)?),
        Some("gptq") => {
            let zero_offset = match file.text("checkpoint_format")?.unwrap_or("gptq") {
                "gptq" => 1,
                "gptq_v2" => 0,
                other => return Err(not_read(&file, "checkpoint_format", other, "gptq and gptq_v2 are")),
            };
            found(QuantizationMethod::Gptq { bits: one_of(&file, "bits", &[2, 4, 8])?, zero_offset })
        }
        Some("awq") => {
            let version = file.text("version")?.unwrap_or("gemm");
            if !version.eq_ignore_ascii_case("gemm") {
                return Err(not_read(&file, "version", version, "gemm is"));
            }
            one_of(&file, "bits", &[4])?;
            found(QuantizationMethod::Awq)
        }
        Some("compressed-tensors") => {
            let groups = file.object("config_groups")?.unwrap_or_else(Object::empty);
            let mut bits = Vec::new();
            for name in groups.keys() {
                let weights = groups.object(name)?.map(|group| group.object("weights")).transpose()?.flatten();
                bits.extend(weights.map(|weights| one_of(&weights, "num_bits", &[2, 4, 8])).transpose()?);
            }
            found(QuantizationMethod::CompressedTensors { bits })
        }
        method => {
            let message = format!(
                "weights quantized by {} are not read; those by MLX, gptq, awq and compressed-tensors are: load one of them, or the \
                 model that they were made from",
                method.unwrap_or("a method without a name")
            );
            Err(config.error(KEY, message))
        }
    }
}

fn mlx(file: &Object) -> Result<QuantizationMethod> {
    let mut others = Vec::new();
    for module in file.keys() {
        if file.is_object(module) {
            let other = file.required(module, file.object(module)?)?;
            others.push((module.to_owned(), Some(scheme(&other)?)));
        } else if module.contains('.') && file.boolean(module)? == Some(false) {
            others.push((module.to_owned(), None));
        }
    }
    Ok(QuantizationMethod::Mlx { usual: scheme(file)?, others })
}

fn scheme(file: &Object) -> Result<MlxScheme> {
    let kind = match file.text("mode")?.unwrap_or("affine") {
        "affine" => None,
        name => Some(
            MicroKind::named(name).ok_or_else(|| not_read(file, "mode", name, "affine, mxfp4, mxfp8 and nvfp4 are"))?,
        ),
    };
    Ok(match kind {
        None => {
            let (bits, group) = (one_of(file, "bits", &Affine::BITS)?, one_of(file, "group_size", &[16, 32, 64, 128])?);
            MlxScheme { kind, bits, group }
        }
        Some(micro) => MlxScheme { kind, bits: micro.bits(), group: micro.group() },
    })
}

fn not_read(file: &Object, key: &str, found: &str, read: &str) -> Error {
    file.error(key, format!("{found:?} is not read; {read}"))
}

fn one_of(file: &Object, key: &str, accepted: &[usize]) -> Result<usize> {
    let number = file.required(key, file.number(key)?)?;
    accepted.iter().copied().find(|&known| known as f64 == number).ok_or_else(|| {
        let accepted = accepted.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        file.error(key, format!("expected one of {accepted}, found {number}"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::config::testing::folder;
    use crate::files::{ModelFolder, Origin};
    use crate::weights::{Weight, Weights};

    fn read_text(text: &str) -> Result<Option<Quantization>> {
        let (_root, folder) = folder(&[("config.json", text)]);
        read(&Object::require(&folder, "config.json").unwrap())
    }

    fn method(text: &str) -> QuantizationMethod {
        read_text(text).unwrap().unwrap().method
    }

    #[test]
    fn methods_that_are_read() {
        assert_eq!(read_text("{}").unwrap(), None);
        assert_eq!(read_text(r#"{"quantization_config": {"quant_method": "bitsandbytes"}}"#).unwrap(), None);
        let affine = |bits, group| MlxScheme { kind: None, bits, group };
        let usual = affine(4, 64);
        for key in ["quantization", "quantization_config"] {
            assert_eq!(
                method(&format!(r#"{{"{key}": {{"group_size": 64, "bits": 4}}}}"#)),
                QuantizationMethod::Mlx { usual, others: vec![] }
            );
        }
        let others = r#"{"quantization": {"group_size": 64, "bits": 4, "mode": "affine",
            "model.layers.0.v": {"bits": 6, "group_size": 32}, "model.layers.1.v": false, "model.norm": {"mode": "nvfp4"}}}"#;
        let nvfp4 = MlxScheme { kind: Some(MicroKind::Nvfp4), bits: 4, group: 16 };
        let expected = [
            ("model.layers.0.v".to_owned(), Some(affine(6, 32))),
            ("model.layers.1.v".to_owned(), None),
            ("model.norm".to_owned(), Some(nvfp4)),
        ];
        let QuantizationMethod::Mlx { others, .. } = method(others) else { panic!("of MLX") };
        assert_eq!(others.len(), 3);
        assert!(expected.iter().all(|other| others.contains(other)));

        let config = |rest: &str| method(&format!(r#"{{"quantization_config": {{{rest}}}}}"#));
        let gptq = |zero_offset| QuantizationMethod::Gptq { bits: 4, zero_offset };
        assert_eq!(config(r#""quant_method": "gptq", "bits": 4"#), gptq(1));
        assert_eq!(config(r#""quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2""#), gptq(0));
        assert_eq!(config(r#""quant_method": "awq", "bits": 4, "version": "GEMM""#), QuantizationMethod::Awq);
        let groups = r#"{"group_0": {"weights": {"num_bits": 4}}, "group_1": {"weights": null}}"#;
        assert_eq!(
            config(&format!(r#""quant_method": "compressed-tensors", "config_groups": {groups}"#)),
            QuantizationMethod::CompressedTensors { bits: vec![4] }
        );
    }

    /// Each fixture has what the format's reference decodes its matrices to.
    #[test]
    fn matrices_have_the_bits_of_the_reference() {
        let mut compared = 0;
        for name in ["mlx_bert", "mlx_qwen3", "gptq_qwen3", "awq_qwen3", "compressed_qwen3"] {
            let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
            let decoded = TempDir::new().unwrap();
            fs::copy(fixture.join("decoded.safetensors"), decoded.path().join("model.safetensors")).unwrap();
            let [fixture, decoded] =
                [&fixture, decoded.path()].map(|path| ModelFolder::new(path.to_owned(), Origin::Folder));
            let quantization = read(&Object::require(&fixture, "config.json").unwrap()).unwrap();
            let weights = Weights::open(&fixture, "").unwrap().quantized_by(quantization);
            let decoded = Weights::open(&decoded, "").unwrap();
            for tensor in decoded.names() {
                let expected = decoded.get_any(tensor).unwrap();
                let found = weights.get(tensor, expected.shape()).unwrap();
                let bits = |weight: &Weight| -> Vec<u32> {
                    weight.to_f32().unwrap().iter().map(|value| value.to_bits()).collect()
                };
                assert_eq!(bits(&found), bits(&expected), "{name}: {tensor}");
                let rows = expected.shape()[0];
                let some = rows / 3..rows - rows / 4;
                assert_eq!(bits(&found.rows(some.clone())), bits(&expected.rows(some)), "{name}: rows of {tensor}");
                compared += usize::from(found.codes().is_some());
            }
        }
        assert!(compared > 30, "{compared}");
    }

    #[test]
    fn others_are_refused_by_their_key() {
        for (text, expected) in [
            (r#"{"quantization": {"bits": 4}}"#, "quantization.group_size: missing"),
            (
                r#"{"quantization": {"bits": 7, "group_size": 64}}"#,
                "quantization.bits: expected one of 2, 3, 4, 5, 6, 8",
            ),
            (r#"{"quantization": {"mode": "int1"}}"#, "quantization.mode: \"int1\" is not read; affine"),
            (r#"{"quantization": 4}"#, "quantization: expected an object"),
            (
                r#"{"quantization_config": {"quant_method": "hqq"}}"#,
                "quantization_config: weights quantized by hqq are not read; those by MLX",
            ),
            (
                r#"{"quantization_config": {"quant_method": "gptq", "bits": 3}}"#,
                "quantization_config.bits: expected one",
            ),
            (
                r#"{"quantization_config": {"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}}"#,
                "quantization_config.checkpoint_format: \"marlin\" is not read; gptq and",
            ),
            (
                r#"{"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemv"}}"#,
                "quantization_config.version: \"gemv\" is not read; gemm is",
            ),
        ] {
            let message = read_text(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("config.json: {expected}")), "{message}");
        }
    }
}

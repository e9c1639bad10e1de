//! Rotary positions as config.json describes them: the base of their angles, and how they are scaled.

use crate::Result;
use crate::config::Object;
use crate::models::layer_type::LayerType;
use crate::models::source::Source;
use crate::nn::{RopeScaling, RotaryAngles};

/// Where config.json has the base of the angles, and what they are for.
pub(super) struct RotaryKeys {
    /// The key of config.json itself, where `parameters` have no `rope_theta`.
    pub(super) theta: &'static str,
    pub(super) default: f64,
    /// Numbers of a head, which are even.
    pub(super) head_dim: usize,
}

impl Source<'_> {
    /// What newer files call `rope_parameters` and older ones, where it is not null, `rope_scaling`.
    pub(super) fn rotary_parameters(&self) -> Result<Object> {
        let scaling = self.rope_scaling()?;
        let parameters = scaling.map_or_else(|| self.config.object("rope_parameters"), |scaling| Ok(Some(scaling)))?;
        Ok(parameters.unwrap_or_else(Object::empty))
    }

    /// The angles of layers of this type in a file that gives each type its own, as Gemma 3's do: older ones scale those
    /// of layers that see all.
    pub(super) fn gemma_angles(&self, layer_type: LayerType, head_dim: usize) -> Result<RotaryAngles> {
        let (keys, scaling) = match layer_type {
            LayerType::Full => (RotaryKeys { theta: "rope_theta", default: 1e6, head_dim }, self.rope_scaling()?),
            LayerType::Sliding => (RotaryKeys { theta: "rope_local_base_freq", default: 10_000.0, head_dim }, None),
        };
        self.rotary_angles(&scaling.map_or_else(|| self.parameters_of(layer_type), Ok)?, &keys)
    }

    /// What older files call `rope_scaling`, where it is not null.
    pub(super) fn rope_scaling(&self) -> Result<Option<Object>> {
        self.config.object("rope_scaling")
    }

    /// `rope_parameters` of layers of this type; no keys where there are none.
    pub(super) fn parameters_of(&self, layer_type: LayerType) -> Result<Object> {
        let by_type = self.config.object("rope_parameters")?;
        let own = by_type.map(|by_type| by_type.object(layer_type.name())).transpose()?.flatten();
        Ok(own.unwrap_or_else(Object::empty))
    }

    /// The angles that `parameters` describe, with the names of transformers' `ROPE_INIT_FUNCTIONS`. An error where they
    /// name another way of scaling.
    pub(super) fn rotary_angles(&self, parameters: &Object, keys: &RotaryKeys) -> Result<RotaryAngles> {
        let theta = self.rope_theta(parameters, keys)?;
        let head_dim = keys.head_dim;
        for object in [parameters, &self.config] {
            if let Some(share) = object.number("partial_rotary_factor")?.filter(|&share| share != 1.0) {
                return Err(object.error("partial_rotary_factor", format!("{share} is not supported; 1 is")));
            }
        }
        let kind_key = if parameters.is_null("rope_type") { "type" } else { "rope_type" };
        let scaling = match parameters.text(kind_key)?.unwrap_or("default") {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: factor(parameters)? },
            "dynamic" if head_dim > 2 => {
                let trained = self.config.integer("max_position_embeddings", 1..=1 << 24)?;
                let trained = self.config.required("max_position_embeddings", trained)?;
                RopeScaling::Dynamic { factor: factor(parameters)?, trained }
            }
            "llama3" => {
                let number = |key| parameters.required(key, parameters.number(key)?);
                let [low, high] = [number("low_freq_factor")?, number("high_freq_factor")?];
                if !(0.0 < low && low < high) {
                    let message = format!("expected more than low_freq_factor, {low}, found {high}");
                    return Err(parameters.error("high_freq_factor", message));
                }
                RopeScaling::Llama3 { factor: factor(parameters)?, low, high, trained: self.trained(parameters)? }
            }
            "yarn" => self.yarn(parameters, theta, head_dim)?,
            kind => {
                let message = format!("{kind:?} is not supported; supported: default, linear, dynamic, llama3, yarn");
                return Err(parameters.error(kind_key, message));
            }
        };
        Ok(RotaryAngles { theta, scaling })
    }

    fn rope_theta(&self, parameters: &Object, keys: &RotaryKeys) -> Result<f64> {
        for (object, key) in [(parameters, "rope_theta"), (&self.config, keys.theta)] {
            match object.number(key)? {
                None => {}
                // Angles of a base far below 1 are beyond float32.
                Some(theta) if (1.0..1e30).contains(&theta) => return Ok(theta),
                Some(theta) => return Err(object.error(key, format!("expected a number from 1, found {theta}"))),
            }
        }
        Ok(keys.default)
    }

    fn yarn(&self, parameters: &Object, theta: f64, head_dim: usize) -> Result<RopeScaling> {
        let positive = |key: &str| match parameters.number(key)? {
            Some(number) if !(0.0..1e6).contains(&number) => {
                Err(parameters.error(key, format!("expected a number from 0, found {number}")))
            }
            // A 0 counts as absent in Python, and so it does here.
            number => Ok(number.filter(|&number| number != 0.0)),
        };
        let factor = factor(parameters)?;
        let growth = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let magnitude = match (positive("attention_factor")?, positive("mscale")?, positive("mscale_all_dim")?) {
            (Some(magnitude), ..) => magnitude,
            (None, Some(of_one), Some(of_all)) => growth(of_one) / growth(of_all),
            _ => growth(1.0),
        };
        let [fast, slow] = [positive("beta_fast")?.unwrap_or(32.0), positive("beta_slow")?.unwrap_or(1.0)];
        let truncate = parameters.boolean("truncate")?.unwrap_or(true);
        let trained = self.trained(parameters)?;
        Ok(RopeScaling::yarn((theta, head_dim), [factor, fast, slow, magnitude], trained, truncate))
    }

    /// How many positions the network was trained for before they were scaled.
    fn trained(&self, parameters: &Object) -> Result<usize> {
        let key = "original_max_position_embeddings";
        let trained = match parameters.integer(key, 1..=1 << 24)? {
            None => self.config.integer("max_position_embeddings", 1..=1 << 24)?,
            trained => trained,
        };
        parameters.required(key, trained)
    }
}

/// By how much positions are scaled.
pub(super) fn factor(parameters: &Object) -> Result<f64> {
    let factor = parameters.required("factor", parameters.number("factor")?)?;
    match (1.0..1e6).contains(&factor) {
        true => Ok(factor),
        false => Err(parameters.error("factor", format!("expected a number from 1, found {factor}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(source: &Source) -> Result<RotaryAngles> {
        let keys = RotaryKeys { theta: "rope_theta", default: 1e4, head_dim: 64 };
        source.rotary_angles(&source.rotary_parameters()?, &keys)
    }

    #[test]
    fn the_base_is_found_under_each_of_its_names() {
        for (text, expected) in [
            (r#"{}"#, 1e4),
            (r#"{"rope_theta": 1000000}"#, 1e6),
            (r#"{"rope_theta": 1e6, "rope_scaling": null, "rope_parameters": null}"#, 1e6),
            (r#"{"rope_theta": 1e6, "rope_parameters": {"rope_type": "default", "rope_theta": 5e3}}"#, 5e3),
            (r#"{"rope_parameters": {"rope_theta": 5e3}}"#, 5e3),
            (r#"{"rope_theta": 1e6, "rope_scaling": {"type": "default"}}"#, 1e6),
        ] {
            assert_eq!(with_source(text, read).unwrap(), RotaryAngles::new(expected), "{text}");
        }
    }

    #[test]
    fn scaling_is_by_the_references_names() {
        for (text, expected) in [
            (r#"{"rope_scaling": {"type": "linear", "factor": 2}}"#, RopeScaling::Linear { factor: 2.0 }),
            (
                r#"{"max_position_embeddings": 99, "rope_parameters": {"rope_type": "dynamic", "factor": 2}}"#,
                RopeScaling::Dynamic { factor: 2.0, trained: 99 },
            ),
            (
                r#"{"rope_scaling": {"rope_type": "llama3", "factor": 32, "low_freq_factor": 1, "high_freq_factor": 4,
                    "original_max_position_embeddings": 8192}}"#,
                RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, trained: 8192 },
            ),
            (
                r#"{"max_position_embeddings": 4096, "rope_scaling": {"type": "yarn", "factor": 4, "mscale": 0.5,
                    "mscale_all_dim": 0.5}}"#,
                RopeScaling::yarn((1e4, 64), [4.0, 32.0, 1.0, 1.0], 4096, true),
            ),
        ] {
            assert_eq!(with_source(text, read).unwrap().scaling, expected, "{text}");
        }
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"rope_theta": 0}"#, "rope_theta"),
            (r#"{"rope_theta": 0.5}"#, "rope_theta"),
            (r#"{"rope_theta": "big"}"#, "rope_theta"),
            (r#"{"partial_rotary_factor": 0.5}"#, "partial_rotary_factor"),
            (r#"{"rope_scaling": {"type": "longrope", "factor": 4}}"#, "rope_scaling.type"),
            (r#"{"rope_parameters": {"rope_type": "proportional"}}"#, "rope_parameters.rope_type"),
            (r#"{"rope_scaling": {"type": "linear"}}"#, "rope_scaling.factor"),
            (r#"{"rope_scaling": {"type": "linear", "factor": 0}}"#, "rope_scaling.factor"),
            (r#"{"rope_scaling": {"type": "dynamic", "factor": 2}}"#, "max_position_embeddings"),
            (
                r#"{"rope_scaling": {"type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 1}}"#,
                "rope_scaling.high_freq_factor",
            ),
            (r#"{"rope_scaling": {"type": "yarn", "factor": 2}}"#, "rope_scaling.original_max_position_embeddings"),
            (r#"{"rope_scaling": {"type": "yarn", "factor": 2, "beta_fast": -1}}"#, "rope_scaling.beta_fast"),
        ];
        assert_refuses(read, &cases);
    }
}

//! How long a model stays loaded, as requests say it.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// How long a model stays loaded after this request; None for ever.
pub(super) struct KeepAlive(pub(super) Option<Duration>);

impl KeepAlive {
    /// What is below zero is for ever.
    fn seconds(seconds: f64) -> Self {
        Self(if seconds < 0.0 { None } else { Duration::try_from_secs_f64(seconds).ok() })
    }

    /// As Go writes durations, "1h30m" or "-1m"; a number alone is of seconds.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.parse::<f64>() {
            return seconds.is_finite().then(|| Self::seconds(seconds));
        }
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text.strip_prefix('+').unwrap_or(text)),
        };
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let end = rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.')?;
            let (number, behind) = rest.split_at(end);
            let end = behind.find(|sign: char| sign.is_ascii_digit() || sign == '.').unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(end);
            let scale = match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
            seconds += number.parse::<f64>().ok()? * scale;
            rest = behind;
        }
        (!text.is_empty()).then(|| Self::seconds(sign * seconds))
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Times;
        impl Visitor<'_> for Times {
            type Value = KeepAlive;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as \"5m\", or a number of seconds")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::seconds(seconds as f64))
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::seconds(seconds as f64))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<KeepAlive, E> {
                Ok(KeepAlive::seconds(seconds))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<KeepAlive, E> {
                KeepAlive::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        reader.deserialize_any(Times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_go_and_seconds() {
        let time = |json: &str| serde_json::from_str::<KeepAlive>(json).map(|time| time.0).map_err(|e| e.to_string());
        let seconds = |seconds| Ok(Some(Duration::from_secs_f64(seconds)));
        assert_eq!(time("\"5m\""), seconds(300.0));
        assert_eq!(time("\"1h30m\""), seconds(5400.0));
        assert_eq!(time("\"1.5s\""), seconds(1.5));
        assert_eq!(time("\"250ms\""), seconds(0.25));
        for zero in ["0", "\"0\"", "\"0s\"", "0.0"] {
            assert_eq!(time(zero), seconds(0.0));
        }
        assert_eq!(time("300"), seconds(300.0));
        for ever in ["-1", "\"-1\"", "\"-1m\"", "-0.5", "1e300"] {
            assert_eq!(time(ever), Ok(None));
        }
        for wrong in ["\"\"", "\"5 m\"", "\"m\"", "\"5x\"", "\"5m3\"", "\"nan\"", "\"1..2s\"", "true", "[]"] {
            assert!(time(wrong).expect_err("is refused").contains("a time as"), "{wrong}");
        }
    }
}

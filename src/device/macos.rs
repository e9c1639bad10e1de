//! Which macOS this is.

/// Refuses a macOS before `oldest`, by the property list that names its version. What names none is not held against it.
pub(super) fn check_version(properties: &str, oldest: u32) -> Result<(), String> {
    let Some(version) = version(properties) else { return Ok(()) };
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major < oldest => Err(format!("macOS {version} is too old, macOS {oldest} or newer is needed")),
        _ => Ok(()),
    }
}

fn version(properties: &str) -> Option<&str> {
    let (_, after) = properties.split_once("<key>ProductVersion</key>")?;
    let (_, value) = after.split_once("<string>")?;
    value.split_once("</string>").map(|(version, _)| version.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(version: &str) -> String {
        let before = "<dict>\n\t<key>ProductBuildVersion</key>\n\t<string>22G720</string>";
        format!("{before}\n\t<key>ProductVersion</key>\n\t<string>{version}</string>\n</dict>")
    }

    #[test]
    fn old_systems_are_named() {
        assert!(check_version(&properties("15.0"), 15).is_ok());
        assert!(check_version(&properties("26.1.2"), 15).is_ok());
        let reason = check_version(&properties("13.6.9"), 15).unwrap_err();
        assert_eq!(reason, "macOS 13.6.9 is too old, macOS 15 or newer is needed");
    }

    #[test]
    fn an_unreadable_version_is_no_reason() {
        assert!(check_version("", 15).is_ok());
        assert!(check_version(&properties("beta"), 15).is_ok());
    }
}

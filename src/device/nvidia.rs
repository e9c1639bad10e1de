//! What Linux tells of NVIDIA's GPUs without waking them.

use std::fs::{read_dir, read_to_string};
use std::path::Path;

/// GPUs that CUDA would find.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gpus {
    /// None where only CUDA itself can tell.
    pub(super) count: Option<usize>,
    /// What all of them are. CUDA numbers unlike ones in an order of its own.
    pub(super) model: Option<String>,
}

/// Under `root`, which is `/` but in tests, as far as `visible`, the value of `CUDA_VISIBLE_DEVICES`, lets CUDA see them. None
/// without a driver.
pub(super) fn gpus(root: &Path, visible: Option<&str>) -> Option<Gpus> {
    let told: Vec<_> = read_dir(root.join("proc/driver/nvidia/gpus"))
        .into_iter()
        .flatten()
        .filter_map(|gpu| read_to_string(gpu.ok()?.path().join("information")).ok())
        .collect();
    let nodes =
        read_dir(root.join("dev")).into_iter().flatten().filter_map(|node| node.ok()?.file_name().into_string().ok());
    let nodes = nodes.filter(|node| {
        let number = node.strip_prefix("nvidia");
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    // A container sees all that the driver tells of, and has nodes for those that it may use.
    let count = match nodes.count() {
        0 if told.is_empty() => None,
        0 => Some(told.len()),
        nodes => Some(nodes),
    };
    // Of Windows' subsystem for Linux, where the driver is the host's.
    let host = root.join("dev/dxg").exists();
    if count.is_none() && !host && !root.join("proc/driver/nvidia/version").exists() {
        return None;
    }
    let mut models = told.iter().filter_map(|text| text.lines().find_map(|line| line.strip_prefix("Model:")));
    let model = models.next().filter(|first| models.all(|other| other == *first));
    let count = if host { count } else { count.or(Some(0)) };
    Some(Gpus { count: shown(count, visible), model: model.map(|model| model.trim().to_owned()) })
}

/// How many of `count` GPUs are shown: the list ends at the first entry that is none.
fn shown(count: Option<usize>, visible: Option<&str>) -> Option<usize> {
    let Some(visible) = visible else { return count };
    let is_gpu = |entry: &&str| match entry.trim().parse::<usize>() {
        Ok(number) => count.is_none_or(|count| number < count),
        // By its UUID.
        Err(_) => ["GPU-", "MIG-"].iter().any(|kind| entry.trim().starts_with(kind)),
    };
    Some(visible.split(',').take_while(is_gpu).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    fn machine(models: &[&str], files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (number, model) in models.iter().enumerate() {
            let folder = root.path().join(format!("proc/driver/nvidia/gpus/0000:0{number}:00.0"));
            create_dir_all(&folder).unwrap();
            write(folder.join("information"), format!("Model: \t\t {model}\nIRQ:   \t\t 6{number}\n")).unwrap();
        }
        for file in files {
            let path = root.path().join(file);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, "").unwrap();
        }
        root
    }

    fn found(models: &[&str], files: &[&str], visible: Option<&str>) -> Option<(Option<usize>, Option<String>)> {
        gpus(machine(models, files).path(), visible).map(|gpus| (gpus.count, gpus.model))
    }

    const VERSION: &str = "proc/driver/nvidia/version";

    #[test]
    fn no_driver_is_told_from_no_device() {
        assert_eq!(found(&[], &["dev/null", "dev/nvidiactl", "dev/nvidia-uvm"], None), None);
        assert_eq!(found(&[], &[VERSION], None), Some((Some(0), None)));
    }

    #[test]
    fn gpus_are_counted_and_named() {
        let one = Some("NVIDIA H200".to_owned());
        assert_eq!(found(&["NVIDIA H200"; 2], &[VERSION], None), Some((Some(2), one.clone())));
        assert_eq!(found(&["NVIDIA H200"; 8], &["dev/nvidia3", "dev/nvidiactl"], None), Some((Some(1), one)));
        assert_eq!(found(&["NVIDIA H200", "NVIDIA T4"], &[VERSION], None), Some((Some(2), None)));
        assert_eq!(found(&[], &["dev/nvidia0", "dev/nvidia1"], None), Some((Some(2), None)));
    }

    #[test]
    fn only_cuda_can_count_under_windows() {
        assert_eq!(found(&[], &["dev/dxg"], None), Some((None, None)));
        assert_eq!(found(&[], &["dev/dxg"], Some("")), Some((Some(0), None)));
    }

    #[test]
    fn hidden_gpus_do_not_count() {
        let shown = |visible| shown(Some(4), Some(visible));
        assert_eq!(shown(""), Some(0));
        assert_eq!(shown("-1"), Some(0));
        assert_eq!(shown("2"), Some(1));
        assert_eq!(shown("0, 3,1"), Some(3));
        assert_eq!(shown("0,4,1"), Some(1));
        assert_eq!(shown("GPU-8932f937,MIG-5,x,1"), Some(2));
    }
}

//! Numbers for people: at most five characters, with a unit.

/// A count, or how many per second.
pub fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G"])
}

/// In units of 1024.
pub fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &["", "K", "M", "G", "T"])
}

/// From nanoseconds.
pub fn time(nanos: u64) -> String {
    scaled(nanos as f64, 1000.0, &["ns", "us", "ms", "s"])
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = usize::from(number < 9.95 && number.fract() != 0.0);
    format!("{number:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_fit() {
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (7.0, "7"),
            (9.9, "9.9"),
            (9.97, "10"),
            (999.0, "999"),
            (999.9, "1.0k"),
            (12_345.0, "12k"),
            (999_999.0, "1.0M"),
            (5.1e9, "5.1G"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(bytes(1024.0 * 1024.0 * 3.5), "3.5M");
        assert_eq!(bytes(1000.0), "1.0K");
        assert_eq!([256, 1 << 20, 1 << 25, 1 << 38].map(time), ["256ns", "1.0ms", "34ms", "275s"]);
    }
}

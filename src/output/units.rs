//! Numbers as people read them.

use std::fmt;

/// A count with its digits in threes: `10,000`.
pub struct Count(pub usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A count and its noun: `1 descriptor`, `2 descriptors`.
pub struct Counted(pub usize, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = match self.0 {
            1 => "",
            _ if self.1.ends_with("process") => "es",
            _ => "s",
        };
        write!(f, "{} {}{plural}", Count(self.0), self.1)
    }
}

/// A short time in microseconds: `85 us`, `0.14 ms`, `12 ms`, `1.2 s`.
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole numbers throughout, rounded half up.
        match self.0 {
            us @ 0..100 => write!(f, "{us} us"),
            us @ 100..9_995 => {
                let hundredths = (us + 5) / 10;
                write!(f, "{}.{:02} ms", hundredths / 100, hundredths % 100)
            }
            us @ 9_995..999_500 => write!(f, "{} ms", (us + 500) / 1000),
            us => {
                let tenths = us.saturating_add(50_000) / 100_000;
                write!(f, "{}.{} s", tenths / 10, tenths % 10)
            }
        }
    }
}

/// A long time in milliseconds, its two largest units: `0s`, `59s`, `2h`, `5m30s`, `1d1h`.
#[derive(Debug, Clone, Copy)]
pub struct Idle(pub u64);

impl Idle {
    /// How long the text is.
    #[must_use]
    pub fn columns(self) -> usize {
        struct Counter(usize);
        impl fmt::Write for Counter {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 += text.len();
                Ok(())
            }
        }
        let mut counter = Counter(0);
        // Counting can't fail.
        let _ = fmt::Write::write_fmt(&mut counter, format_args!("{self}"));
        counter.0
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else {
            return f.write_str("0s");
        };
        let (size, name) = units[first];
        write!(f, "{}{name}", seconds / size)?;
        if let Some((smaller, name)) = units.get(first + 1)
            && seconds % size >= *smaller
        {
            write!(f, "{}{name}", seconds % size / smaller)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let counts = [0, 999, 1_000, 10_000, 1_234_567].map(|n| Count(n).to_string());
        assert_eq!(counts, ["0", "999", "1,000", "10,000", "1,234,567"]);
        assert_eq!(Counted(1, "process").to_string(), "1 process");
        assert_eq!(Counted(0, "process").to_string(), "0 processes");
        assert_eq!(Counted(2_000, "descriptor").to_string(), "2,000 descriptors");
    }

    #[test]
    fn pauses() {
        let table = [
            (0, "0 us"),
            (99, "99 us"),
            (100, "0.10 ms"),
            (143, "0.14 ms"),
            (1_000, "1.00 ms"),
            (9_994, "9.99 ms"),
            (9_995, "10 ms"),
            (12_400, "12 ms"),
            (999_499, "999 ms"),
            (999_500, "1.0 s"),
            (61_250_000, "61.3 s"),
            (u64::MAX, "184467440737095.5 s"),
        ];
        for (us, want) in table {
            // The last one saturates rather than overflow.
            let shown = Micros(us).to_string();
            if us == u64::MAX {
                assert!(shown.starts_with("18446744073709"), "{shown}");
            } else {
                assert_eq!(shown, want);
            }
        }
    }

    #[test]
    fn idle_times() {
        let table = [
            (0, "0s"),
            (999, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (330_000, "5m30s"),
            (7_200_000, "2h"),
            (7_230_000, "2h"),
            (90_061_000, "1d1h"),
            (864_000_000, "10d"),
        ];
        for (ms, want) in table {
            assert_eq!(Idle(ms).to_string(), want);
        }
    }
}

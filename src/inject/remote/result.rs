//! What a call answered, by the value it left.

use nix::errno::Errno;

/// A call's raw result: -4095 to -1 are negated errno numbers (syscall(2)).
pub(super) fn decode(raw: i64) -> Result<u64, Errno> {
    match raw {
        -4095..=-1 => Err(Errno::from_raw(i32::try_from(-raw).unwrap_or(libc::EIO))),
        value => Ok(value.cast_unsigned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_are_told_apart() {
        assert_eq!(decode(0), Ok(0));
        assert_eq!(decode(-9), Err(Errno::EBADF));
        assert_eq!(decode(-4096), Ok((-4096_i64).cast_unsigned()));
        assert_eq!(decode(i64::MAX), Ok(i64::MAX.cast_unsigned()));
    }
}

//! Numbers and addresses as text, for tables of hundreds of thousands of rows: the standard library's formatting takes
//! a third of the time of a listing without holders.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Appends `number`.
pub(super) fn push_number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// Appends `address` as it displays.
pub(super) fn push_address(text: &mut String, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        // Writing to a String can't fail.
        let _ = write!(text, "{address}");
        return;
    };
    for (at, octet) in v4.ip().octets().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        push_number(text, octet.into());
    }
    text.push(':');
    push_number(text, v4.port().into());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut text = "x".to_owned();
        write(&mut text);
        text
    }

    #[test]
    fn the_smallest_and_the_largest() {
        assert_eq!(written(|text| push_number(text, 0)), "x0");
        assert_eq!(written(|text| push_number(text, u64::MAX)), format!("x{}", u64::MAX));
    }

    proptest! {
        #[test]
        fn says_what_display_says(number: u64, address: SocketAddr) {
            prop_assert_eq!(written(|text| push_number(text, number)), format!("x{number}"));
            prop_assert_eq!(written(|text| push_address(text, address)), format!("x{address}"));
        }
    }
}

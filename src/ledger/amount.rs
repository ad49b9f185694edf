//! Exact amounts: decimals at the scale of their resource.
//!
//! A resource fixes how many decimals it counts, and every amount of it is kept at exactly that
//! scale. So there is one representation per value (equal on every node, before and after a
//! restart), and addition never has to align or round.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;

/// The largest amount or limit a command may name: 10^18.
pub const MAX_AMOUNT: Decimal = Decimal::from_parts(0xA764_0000, 0x0DE0_B6B3, 0, false, 0);

/// The most decimals a resource may have.
pub const MAX_DECIMALS: u8 = 18;

/// Units are below this.
const UNITS_END: i128 = 1 << 96;

/// A non-negative quantity of one resource, at the scale of that resource.
///
/// It is what a decimal is, 96 bits of digits and a scale, in a form that adds and compares at
/// once: of one resource only the digits differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    low: u64,
    high: u32,
    scale: u8,
}

impl PartialOrd for Amount {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        assert_eq!(self.scale, other.scale, "amounts of one resource have one scale");
        self.units().cmp(&other.units())
    }
}

/// Why a number is no amount of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// More decimals than the resource has.
    #[error("has {has} decimals, the resource allows {allowed}")]
    TooPrecise {
        /// Decimals of the number, trailing zeros not counted.
        has: u32,
        /// Decimals of the resource.
        allowed: u8,
    },
    /// Over 10^18, or too many digits to be counted exactly.
    #[error("is too large to be counted exactly")]
    TooLarge,
}

impl Amount {
    /// Nothing, at the scale of a resource.
    #[inline]
    pub fn zero(decimals: u8) -> Self {
        Self { low: 0, high: 0, scale: decimals }
    }

    /// A number as an amount of a resource with `decimals`. Zero is an amount.
    pub fn new(number: Decimal, decimals: u8) -> Result<Self, AmountError> {
        if number.is_zero() {
            return Ok(Self::zero(decimals));
        }
        if number.is_sign_negative() {
            return Err(AmountError::Negative);
        }
        let mut number = number;
        if number.scale() != u32::from(decimals) {
            number = number.normalize();
            if number.scale() > u32::from(decimals) {
                return Err(AmountError::TooPrecise { has: number.scale(), allowed: decimals });
            }
            // `rescale` stops early, without an error, when the digits run out.
            number.rescale(u32::from(decimals));
            if number.scale() != u32::from(decimals) {
                return Err(AmountError::TooLarge);
            }
        }
        Self::zero(decimals).of_units(number.mantissa()).ok_or(AmountError::TooLarge)
    }

    /// The sum, or `None` when it has too many digits to be exact.
    #[inline]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        assert_eq!(self.scale, other.scale, "amounts of one resource have one scale");
        self.of_units(self.units() + other.units())
    }

    /// The difference, or `None` when it would be negative.
    #[inline]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        assert_eq!(self.scale, other.scale, "amounts of one resource have one scale");
        self.of_units(self.units() - other.units())
    }

    /// The difference, or zero when it would be negative.
    #[inline]
    pub fn saturating_sub(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or(Self::zero(self.scale))
    }

    /// The digits as an integer: the amount times 10^decimals. Below 2^96.
    #[inline]
    pub fn units(self) -> i128 {
        i128::from(self.high) << 64 | i128::from(self.low)
    }

    /// How many digits after the point: the decimals of the resource.
    #[inline]
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The amount of so many units at the scale of this one; `None` when negative or too large to
    /// be counted exactly.
    #[inline]
    pub fn of_units(self, units: i128) -> Option<Self> {
        let high = u32::try_from(units >> 64).ok()?;
        let low = u64::try_from(units & i128::from(u64::MAX)).ok()?;
        Some(Self { low, high, scale: self.scale })
    }

    /// The amount times a ratio of 1 or more, cut toward zero; the greatest amount that can be
    /// counted when it would be more.
    pub fn times(self, ratio: Decimal) -> Self {
        // A ratio has few digits (at most 10^7), so that the product fits.
        let product = self.units() * ratio.mantissa() / 10i128.pow(ratio.scale());
        self.of_units(product.min(UNITS_END - 1)).expect("a ratio is not negative")
    }

    /// Whether it is nothing.
    #[inline]
    pub fn is_zero(self) -> bool {
        self.low == 0 && self.high == 0
    }

    /// The number without trailing zeros.
    pub fn number(self) -> Decimal {
        number_of(self.units(), self.scale).expect("an amount is a number").normalize()
    }
}

/// Units at a scale as a number, which may be negative; `None` when there are too many digits.
#[inline]
pub fn number_of(units: i128, scale: u8) -> Option<Decimal> {
    let digits = units.unsigned_abs();
    if digits >= UNITS_END.unsigned_abs() {
        return None;
    }
    let word = |shift: u32| u32::try_from(digits >> shift & u128::from(u32::MAX)).ok();
    Some(Decimal::from_parts(word(0)?, word(32)?, word(64)?, units < 0, u32::from(scale)))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Most of them, and much faster.
            Self { low, high: 0, scale: 0 } => low.fmt(f),
            _ => self.number().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::from_str_exact(text).expect("a number")
    }

    #[test]
    fn the_largest_amount_is_ten_to_the_eighteenth() {
        assert_eq!(MAX_AMOUNT, number("1000000000000000000"));
    }

    #[test]
    fn trailing_zeros_are_not_precision() {
        assert_eq!(Amount::new(number("1.50"), 1), Amount::new(number("1.5"), 1));
        assert_eq!(Amount::new(number("1.55"), 1), Err(AmountError::TooPrecise { has: 2, allowed: 1 }));
    }

    #[test]
    fn a_sum_that_would_be_rounded_is_refused() {
        let most = Amount { low: u64::MAX, high: u32::MAX, scale: 18 };
        let least = Amount { low: 1, high: 0, scale: 18 };
        assert_eq!(most.checked_add(least), None);
    }

    #[test]
    fn an_amount_with_too_many_digits_for_its_scale_is_refused() {
        assert_eq!(Amount::new(number("100000000000"), 18), Err(AmountError::TooLarge));
    }

    #[test]
    fn subtracting_to_zero_keeps_the_scale() {
        let two = Amount::new(number("2"), 3).expect("an amount");
        assert_eq!(two.checked_sub(two), Some(Amount::zero(3)));
        assert_eq!(two.checked_sub(two).map(Amount::scale), Some(3));
        assert_eq!(Amount::zero(3).checked_sub(two), None);
        assert_eq!(Amount::zero(3).saturating_sub(two), Amount::zero(3));
    }

    /// The digits of an amount as an integer, at the scale of its resource.
    fn digits_of(amount: Amount, decimals: u8) -> i128 {
        assert_eq!(amount.scale(), decimals, "an amount is at the scale of its resource");
        amount.units()
    }

    /// Everything that a `Decimal` can be: 96 bits, a sign and a scale.
    fn any_number() -> impl Strategy<Value = Decimal> {
        let digits = prop_oneof![
            0..1000i128,
            (0..40u32, 0..1000i128).prop_map(|(zeros, digits)| digits * 10i128.pow(zeros % 26)),
            0..1i128 << 96,
            (1i128 << 96) - 100..1i128 << 96,
        ];
        (digits, any::<bool>(), 0..=28u32).prop_map(|(digits, negative, scale)| {
            Decimal::from_i128_with_scale(if negative { -digits } else { digits }, scale)
        })
    }

    /// Two amounts of one resource, often with a sum at the edge of what can be counted.
    fn two_amounts() -> impl Strategy<Value = (u8, i128, i128)> {
        let digits = || prop_oneof![0..100i128, 0..1i128 << 96, (1i128 << 96) - 100..1i128 << 96];
        let far_apart = (digits(), digits());
        let at_the_edge = (0..1i128 << 96, -3..3i128)
            .prop_map(|(digits, off)| (digits, ((1i128 << 96) - digits + off).clamp(0, (1 << 96) - 1)));
        (0..=MAX_DECIMALS, prop_oneof![far_apart, at_the_edge])
            .prop_map(|(decimals, (a, b))| (decimals, a, b))
    }

    proptest! {
        #![proptest_config(Config { cases: 4096, failure_persistence: None, ..Config::default() })]

        #[test]
        fn a_number_is_an_amount_exactly_when_its_digits_fit(
            number in any_number(),
            decimals in 0..=MAX_DECIMALS,
        ) {
            let digits = number.mantissa().abs();
            let expected = if digits == 0 {
                Ok(0)
            } else if number.mantissa() < 0 {
                Err(AmountError::Negative)
            } else {
                let mut zeros = 0;
                while zeros < number.scale() && digits % 10i128.pow(zeros + 1) == 0 {
                    zeros += 1;
                }
                let (digits, scale) = (digits / 10i128.pow(zeros), number.scale() - zeros);
                if scale > u32::from(decimals) {
                    Err(AmountError::TooPrecise { has: scale, allowed: decimals })
                } else {
                    let scaled = digits.checked_mul(10i128.pow(u32::from(decimals) - scale));
                    scaled.filter(|digits| *digits < 1 << 96).ok_or(AmountError::TooLarge)
                }
            };
            let amount = Amount::new(number, decimals);
            prop_assert_eq!(amount.map(|amount| digits_of(amount, decimals)), expected);
            if let Ok(amount) = amount {
                prop_assert_eq!(amount.number(), number);
                prop_assert_eq!(Amount::new(amount.number(), decimals), Ok(amount));
            }
        }

        #[test]
        fn sums_and_differences_are_those_of_integers((decimals, a, b) in two_amounts()) {
            let amount = |digits| Amount::zero(decimals).of_units(digits).expect("an amount");
            let integer = |amount| digits_of(amount, decimals);
            let (one, other) = (amount(a), amount(b));
            prop_assert_eq!(one.checked_add(other).map(integer), Some(a + b).filter(|sum| *sum < 1 << 96));
            prop_assert_eq!(one.checked_sub(other).map(integer), Some(a - b).filter(|rest| *rest >= 0));
            prop_assert_eq!(integer(one.saturating_sub(other)), (a - b).max(0));
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            prop_assert_eq!(one.is_zero(), a == 0);
        }
    }
}

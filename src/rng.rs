//! Random numbers for what is not replicated: the jitter of retries. A simulation gives a seeded
//! source instead.

use std::time::Duration;

use rand::Rng as _;

/// A source of random numbers.
pub trait Rng: Send + Sync + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// 32 random bytes.
    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        secret.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&self.next_u64().to_be_bytes()));
        secret
    }

    /// A time between half of `most` and `most`.
    fn jitter(&self, most: Duration) -> Duration {
        let half = most / 2;
        let half_nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(self.next_u64() % half_nanos)
    }
}

/// The generator of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[allow(clippy::disallowed_methods)] // This is the one place that may ask.
    fn next_u64(&self) -> u64 {
        rand::rng().next_u64()
    }
}

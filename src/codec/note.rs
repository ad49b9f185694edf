//! Signed notes and checkpoints, in the forms of C2SP (signed-note, tlog-checkpoint): a text, an empty
//! line, and one line for each signature over the text.
//!
//! ```text
//! quorate/main
//! 1042
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! time 1767225600000
//! state 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
//!
//! — quorate/main/1 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//! ```
//!
//! The lines are the origin, the size of the tree, its root, the log time of the last event in it, and
//! the digest of the state after that event. The last two are extensions, as the form allows them.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::Signature;
use ed25519_dalek::Signer as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::VerifyingKey;
use sha2::Digest as _;
use sha2::Sha256;

use super::digest::StateDigest;
use super::merkle::Hash;
use crate::ledger::LogTime;

/// The signature type of Ed25519.
const ED25519: u8 = 1;

/// Most signatures of a note.
const MOST_SIGNATURES: usize = 16;

/// How a signature line begins.
const DASH: &str = "\u{2014} ";

/// Why a text is no note, no checkpoint or no key, or is not signed as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoteError(String);

impl NoteError {
    fn new(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// How far a ledger had come: what a node puts its name to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger: "quorate/" and the name of the cluster.
    pub origin: String,
    /// How many events there were: the revision of the last.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// The log time of the last.
    pub time: LogTime,
    /// Of the state after it.
    pub state: StateDigest,
}

/// The origin of the ledger of a cluster.
pub fn origin(cluster: &str) -> String {
    format!("quorate/{cluster}")
}

/// The name under which a node signs.
pub fn signer_name(cluster: &str, node_id: u64) -> String {
    format!("{}/{node_id}", origin(cluster))
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root, time, state } = self;
        write!(f, "{origin}\n{size}\n{root}\ntime {time}\nstate {state}\n")
    }
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.lines();
        let mut line = |what: &str| {
            lines.next().ok_or_else(|| NoteError::new(format!("the checkpoint ends before its {what}")))
        };
        let bad = |what: &str, text: &str| {
            NoteError::new(format!("the {what} of the checkpoint is {text:?}, which is none"))
        };
        let number = |what: &str, text: &str| text.parse().map_err(|_| bad(what, text));
        let origin = line("origin")?.to_owned();
        let size = line("size")?;
        let root = line("root")?;
        let time = line("time")?;
        let state = line("state")?;
        let decoded = BASE64_STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let checkpoint = Self {
            origin,
            size: number("size", size)?,
            root: Hash(decoded.ok_or_else(|| bad("root", root))?),
            time: number("time", time.strip_prefix("time ").ok_or_else(|| bad("time", time))?)?,
            state: state
                .strip_prefix("state ")
                .and_then(|digest| digest.parse().ok())
                .ok_or_else(|| bad("state", state))?,
        };
        // So that there is one text for one checkpoint.
        if checkpoint.to_string() != text {
            return Err(NoteError::new("the checkpoint has lines that are not its own"));
        }
        Ok(checkpoint)
    }
}

/// What signs.
pub struct NoteSigner {
    name: String,
    key: SigningKey,
}

impl NoteSigner {
    /// From 32 secret bytes.
    pub fn new(name: String, seed: &[u8; 32]) -> Self {
        Self { name, key: SigningKey::from_bytes(seed) }
    }

    /// What others need to check its signatures.
    pub fn verifier(&self) -> NoteVerifier {
        NoteVerifier { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// A text with its signature.
    pub fn sign(&self, text: &str) -> String {
        assert!(text.ends_with('\n') && !text.contains("\n\n"), "a note has lines, none of them empty");
        let mut signed = self.verifier().key_hash().to_vec();
        signed.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        let mut note = format!("{text}\n");
        writeln!(note, "{DASH}{} {}", self.name, BASE64_STANDARD.encode(signed)).expect("text takes all");
        note
    }
}

/// A public key with the name of its owner, written "name+hash+key".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    key: VerifyingKey,
}

impl NoteVerifier {
    /// Whose signatures it checks.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn typed_key(&self) -> Vec<u8> {
        [&[ED25519], self.key.as_bytes().as_slice()].concat()
    }

    fn key_hash(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(&self.name)
            .chain_update("\n")
            .chain_update(self.typed_key())
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = u32::from_be_bytes(self.key_hash());
        write!(f, "{}+{hash:08x}+{}", self.name, BASE64_STANDARD.encode(self.typed_key()))
    }
}

impl FromStr for NoteVerifier {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let bad = |problem: &str| NoteError::new(format!("{text:?} is no verifier key: {problem}"));
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it has three parts, joined by '+': name, hash and key"));
        };
        let typed = BASE64_STANDARD.decode(key).map_err(|_| bad("the key is not Base64"))?;
        let key = match typed.split_first() {
            Some((&ED25519, key)) => key.try_into().map_err(|_| bad("the key is not 32 bytes long"))?,
            _ => return Err(bad("the key is not one of Ed25519")),
        };
        let key = VerifyingKey::from_bytes(key).map_err(|_| bad("the key is no point of its curve"))?;
        let verifier = Self { name: name.to_owned(), key };
        if verifier.to_string() != text {
            return Err(bad("its hash is not that of its name and key"));
        }
        Ok(verifier)
    }
}

/// A signed text, with signatures that have not been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    key_hash: [u8; 4],
    signature: [u8; 64],
}

impl SignedNote {
    /// What was signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who claims to have signed it.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.name.as_str())
    }

    /// Whoever of `known` has signed it. Signatures of others are passed over; one by a known key that
    /// is wrong is an error, and so is a note that nobody known has signed.
    pub fn verify<'a>(&self, known: &'a [NoteVerifier]) -> Result<&'a NoteVerifier, NoteError> {
        let mut signer = None;
        for NoteSignature { name, key_hash, signature } in &self.signatures {
            let Some(verifier) =
                known.iter().find(|known| known.name == *name && known.key_hash() == *key_hash)
            else {
                continue;
            };
            let signature = Signature::from_bytes(signature);
            verifier
                .key
                .verify_strict(self.text.as_bytes(), &signature)
                .map_err(|_| NoteError::new(format!("the signature of {name} is not of this text")))?;
            signer = Some(verifier);
        }
        signer.ok_or_else(|| {
            let signers: Vec<_> = self.signers().collect();
            NoteError::new(format!("none of the given keys has signed it; {} has", signers.join(", ")))
        })
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        let Some((text, signatures)) = note.split_once("\n\n") else {
            return Err(NoteError::new("it has no signature: there is no empty line before one"));
        };
        if signatures.lines().count() > MOST_SIGNATURES {
            return Err(NoteError::new(format!("it has more than {MOST_SIGNATURES} signatures")));
        }
        let signatures: Vec<NoteSignature> = signatures
            .strip_suffix('\n')
            .ok_or_else(|| NoteError::new("it does not end with the end of a line"))?
            .split('\n')
            .map(signature)
            .collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }
}

fn signature(line: &str) -> Result<NoteSignature, NoteError> {
    let bad = || NoteError::new(format!("{line:?} is no line with a signature"));
    let (name, signature) = line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or_else(bad)?;
    let bytes = BASE64_STANDARD.decode(signature).map_err(|_| bad())?;
    let (key_hash, signature) = bytes.split_first_chunk().ok_or_else(bad)?;
    let signature = signature.try_into().map_err(|_| bad())?;
    Ok(NoteSignature { name: name.to_owned(), key_hash: *key_hash, signature })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // Of small numbers.
mod tests {
    use super::*;

    fn signer(node: u64) -> NoteSigner {
        NoteSigner::new(signer_name("main", node), &[node as u8; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: origin("main"),
            size: 1042,
            root: Hash([7; 32]),
            time: 1_767_225_600_000,
            state: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".parse().unwrap(),
        }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let text = checkpoint().to_string();
        assert_eq!(text.parse(), Ok(checkpoint()));
        for (from, to) in [
            ("1042", "01042"),
            ("1042", "x"),
            ("time ", "date "),
            ("state 5", "state x"),
            ("state", "\nstate"),
        ] {
            assert!(text.replace(from, to).parse::<Checkpoint>().is_err(), "{from} for {to}");
        }
        assert!(format!("{text}more\n").parse::<Checkpoint>().is_err());
        assert!("quorate/main\n1\n".parse::<Checkpoint>().is_err());
    }

    #[test]
    fn a_signature_is_of_one_text_by_one_key() {
        let text = checkpoint().to_string();
        let note = signer(1).sign(&text);
        let signed: SignedNote = note.parse().expect("a note");
        assert_eq!(signed.text(), text);
        let keys = [signer(2).verifier(), signer(1).verifier()];
        assert_eq!(signed.verify(&keys).map(NoteVerifier::name), Ok("quorate/main/1"));
        assert!(signed.verify(&keys[..1]).unwrap_err().to_string().contains("quorate/main/1 has"));
        // Another key under the same name.
        let forged = NoteSigner::new(signer_name("main", 1), &[9; 32]);
        assert!(forged.sign(&text).parse::<SignedNote>().unwrap().verify(&keys).is_err());
        let changed: SignedNote = note.replace("1042", "1043").parse().expect("a note");
        assert!(changed.verify(&keys).unwrap_err().to_string().contains("not of this text"));
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = signer(3).verifier();
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        for bad in ["", "a+b", "a+b+c", &key.to_string().replace("main", "mine"), "a+00000000+AQ=="] {
            assert!(bad.parse::<NoteVerifier>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let note = signer(1).sign("text\n");
        let cut = note.trim_end_matches('\n').to_owned();
        for bad in ["", "text\n", &note.replace(DASH, "- "), &cut, &note.replace("\n\n", "\n")] {
            assert!(bad.parse::<SignedNote>().is_err(), "{bad:?}");
        }
    }
}

//! Small random changes to bytes, decided by a seed.

use deeplimit::seed;

/// Random numbers, one after the other.
pub struct Random {
    seed: u64,
    count: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// A whole number below `bound`; 0 where the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.count += 1;
        (seed::derive(self.seed, self.count) % (bound.max(1) as u64)) as usize
    }

    pub fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        let longest = (len - start).min(1 << self.below(12));
        start..start + self.below(longest + 1)
    }
}

/// Words that readers may stumble over.
const WORDS: [&[u8]; 24] = [
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e999",
    b"1e-400",
    b"99999999999999999999",
    b"4294967296",
    b"\"",
    b"'",
    b",",
    b";",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    "é".as_bytes(),
    b"null",
];

/// The bytes after one to four changes.
pub fn bytes(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        change(&mut bytes, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let len = bytes.len();
    match random.below(9) {
        0 => flip(bytes, random),
        1 => bytes.truncate(random.below(len + 1)),
        2 => drop(bytes.drain(random.range(len))),
        3 => {
            let (piece, place) = (bytes[random.range(len)].to_vec(), random.below(len + 1));
            bytes.splice(place..place, piece);
        }
        4 => {
            let place = random.below(len + 1);
            bytes.splice(place..place, random.pick(&WORDS).iter().copied());
        }
        5 => {
            let range = random.range(len);
            bytes.splice(range, random.pick(&WORDS).iter().copied());
        }
        6 => {
            // A number of one to eight bytes becomes extreme.
            let (start, size) = (random.below(len), 1 << random.below(4));
            let value = *random.pick(&[0x00, 0x01, 0x7f, 0x80, 0xff]);
            bytes.iter_mut().skip(start).take(size).for_each(|byte| *byte = value);
        }
        7 => number(bytes, random),
        _ => (0..1 + random.below(8)).for_each(|_| flip(bytes, random)),
    }
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let place = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << random.below(8);
    }
}

/// Another number in the place of one that is written in digits.
fn number(bytes: &mut Vec<u8>, random: &mut Random) {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let from = random.below(bytes.len());
    let Some(start) = bytes[from..].iter().position(digits).map(|place| from + place) else {
        return;
    };
    let end = start + bytes[start..].iter().take_while(|byte| digits(byte)).count();
    let words = ["0", "1", "-1", "2", "3", "7", "17", "nan", "0.5", "1e30", "\"\"", "true"];
    bytes.splice(start..end, random.pick(&words).bytes());
}

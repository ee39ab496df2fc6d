//! One PNG or JPEG file to the bytes of an image.
//!
//! An image of greys has one channel, every other three; of 16 bits a value the upper eight are kept. A JPEG
//! is turned upright as its Exif entry *orientation* says (JEITA CP-3451). Colour profiles are not applied.
//! Nothing is made up: a cut or damaged file is an error, and so are pixels that one can see through.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;

use png::{ColorType, Decoder, Limits, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{DataError, Inputs, Shape};

/// Pixels of an image at most: 300 MB in colour.
const PIXELS: usize = 100_000_000;

/// Bytes of a file at most.
const FILE: u64 = 256 << 20;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Whether a file is named as an image.
pub(super) fn is_named(path: &Path) -> bool {
    let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ["png", "jpg", "jpeg"].contains(&&end[..])
}

/// Whether a file begins as an image does.
pub(super) fn is_here(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let begins = File::open(path).and_then(|file| file.take(8).read_to_end(&mut bytes));
    begins.is_ok() && (bytes.starts_with(PNG) || bytes.starts_with(JPEG))
}

/// An image as it lies in its file: row by row, the channels of a pixel together.
struct Decoded {
    channels: usize,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    /// The Exif entry that says how to turn it; 1 leaves it as it is.
    orientation: u16,
}

/// Reads an image.
pub(super) fn read(path: &Path) -> Result<(Shape, Inputs), DataError> {
    let bad = |reason: String| DataError::BadPicture { file: path.to_owned(), reason };
    let io = |cause| DataError::Io { file: path.to_owned(), cause };
    if fs::metadata(path).map_err(io)?.len() > FILE {
        return Err(bad(format!("is larger than {} MB", FILE >> 20)));
    }
    let bytes = fs::read(path).map_err(io)?;
    let decoded = match () {
        () if bytes.starts_with(PNG) => of_png(&bytes),
        () if bytes.starts_with(JPEG) => of_jpeg(&bytes),
        () => Err("is neither a PNG nor a JPEG file".to_owned()),
    };
    let decoded = decoded.and_then(Decoded::opaque).map_err(bad)?;
    Ok(decoded.upright())
}

fn fits(width: usize, height: usize) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err("has no pixels".to_owned());
    }
    match width.saturating_mul(height) {
        0..=PIXELS => Ok(()),
        _ => Err(format!("is of {width} × {height} pixels, of which at most {PIXELS} are read")),
    }
}

fn of_png(bytes: &[u8]) -> Result<Decoded, String> {
    let broken = |error: png::DecodingError| format!("is a broken PNG file: {error}");
    // A row and what inflating takes; the image itself is not counted.
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: 64 << 20 });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(broken)?;
    let (width, height) = (header.width as usize, header.height as usize);
    fits(width, height)?;
    let mut reader = decoder.read_info().map_err(broken)?;
    let size = reader.output_buffer_size().ok_or("is too large")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(broken)?;
    pixels.truncate(frame.buffer_size());
    let channels = match frame.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb | ColorType::Indexed => 3,
        ColorType::Rgba => 4,
    };
    // What lies behind the pixels is read too, so that a cut file is seen.
    reader.finish().map_err(broken)?;
    Ok(Decoded { channels, height, width, pixels, orientation: 1 })
}

fn of_jpeg(bytes: &[u8]) -> Result<Decoded, String> {
    let broken = |error: &dyn std::fmt::Display| format!("is a broken JPEG file: {error}");
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| broken(&error))?;
    let (width, height) = decoder.dimensions().ok_or("has no size")?;
    fits(width, height)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(|error| broken(&error))?;
    if pixels.len() != channels * width * height {
        return Err(broken(&"its colours are of a kind that is not read"));
    }
    if !ends(bytes) {
        return Err(broken(&"it ends too early"));
    }
    let orientation = decoder.exif().and_then(|exif| orientation(exif)).unwrap_or(1);
    Ok(Decoded { channels, height, width, pixels, orientation })
}

/// Whether the last scan of a JPEG file comes to its end.
fn ends(bytes: &[u8]) -> bool {
    let pairs = || bytes.windows(2);
    let scan = pairs().rposition(|pair| pair == [0xff, 0xda]);
    scan.is_some_and(|scan| pairs().skip(scan).any(|pair| pair == [0xff, 0xd9]))
}

/// The entry 0x0112 of the first directory of Exif data, if it is one of the eight.
fn orientation(exif: &[u8]) -> Option<u16> {
    let little = exif.starts_with(b"II");
    let word = |place: usize| {
        let bytes: [u8; 2] = exif.get(place..place + 2)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let (low, high) = if little { (4, 6) } else { (6, 4) };
    let directory = usize::from(word(high)?) << 16 | usize::from(word(low)?);
    let entry = |index: usize| directory + 2 + 12 * index;
    let entries = usize::from(word(directory)?);
    let found = (0..entries).map(entry).find(|&place| word(place) == Some(0x0112))?;
    word(found + 8).filter(|value| (1..=8).contains(value))
}

impl Decoded {
    /// Without a channel of transparency, where nothing is transparent.
    fn opaque(mut self) -> Result<Self, String> {
        let colours = match self.channels {
            2 => 1,
            4 => 3,
            _ => return Ok(self),
        };
        let seen_through = |pixel: &[u8]| pixel[colours] != u8::MAX;
        if self.pixels.chunks_exact(self.channels).any(seen_through) {
            return Err("has transparent pixels; save it with a background".to_owned());
        }
        let pixels = self.pixels.len() / self.channels;
        for pixel in 0..pixels {
            let from = pixel * self.channels;
            self.pixels.copy_within(from..from + colours, pixel * colours);
        }
        self.pixels.truncate(pixels * colours);
        Ok(Self { channels: colours, ..self })
    }

    /// Channel by channel, as it is meant to be looked at.
    fn upright(self) -> (Shape, Inputs) {
        let Self { channels, height: rows, width: columns, pixels, orientation } = self;
        let turned = orientation >= 5;
        let (height, width) = if turned { (columns, rows) } else { (rows, columns) };
        // Where the pixel at (y, x) lies in the file.
        let place = |y: usize, x: usize| {
            let (up, left) = (rows - 1, columns - 1);
            let (row, column) = match orientation {
                2 => (y, left - x),
                3 => (up - y, left - x),
                4 => (up - y, x),
                5 => (x, y),
                6 => (up - x, y),
                7 => (up - x, left - y),
                8 => (x, left - y),
                _ => (y, x),
            };
            (row * columns + column) * channels
        };
        let mut bytes = Vec::with_capacity(pixels.len());
        for channel in 0..channels {
            for y in 0..height {
                bytes.extend((0..width).map(|x| pixels[place(y, x) + channel]));
            }
        }
        (Shape::image(channels, height, width), Inputs::Bytes { bytes, full: 255 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letter F, by the corners of its frame: what each orientation stores of it.
    #[test]
    fn an_image_of_every_orientation_is_turned_upright() {
        // Upright, 2 rows of 3: a b c / d e f. Stored so that the entry's meaning holds, e.g. 6: the first
        // row is what is seen at the right, the first column what is seen at the top.
        let stored: [(&[u8], usize); 8] = [
            (b"abcdef", 3),
            (b"cbafed", 3),
            (b"fedcba", 3),
            (b"defabc", 3),
            (b"adbecf", 2),
            (b"cfbead", 2),
            (b"fcebda", 2),
            (b"daebfc", 2),
        ];
        for (index, (pixels, width)) in stored.into_iter().enumerate() {
            let orientation = index as u16 + 1;
            let height = pixels.len() / width;
            let pixels = pixels.to_vec();
            let decoded = Decoded { channels: 1, height, width, pixels, orientation };
            let (shape, inputs) = decoded.upright();
            assert_eq!(shape, Shape::image(1, 2, 3), "{orientation}");
            let expected = Inputs::Bytes { bytes: b"abcdef".to_vec(), full: 255 };
            assert_eq!(inputs, expected, "{orientation}");
        }
    }

    #[test]
    fn the_orientation_is_found_in_either_byte_order_and_nonsense_is_none() {
        let little = |value: u16| {
            let mut exif = b"II*\0\x08\0\0\0\x02\0".to_vec();
            exif.extend([0x0f, 0x01, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
            exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0]);
            exif.extend([value.to_le_bytes(), [0, 0]].concat());
            exif
        };
        let mut big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        big.extend([0, 8, 0, 0]);
        assert_eq!(orientation(&little(6)), Some(6));
        assert_eq!(orientation(&big), Some(8));
        assert_eq!(orientation(&little(9)), None);
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff\x02\0"), None);
        assert_eq!(orientation(b""), None);
        assert_eq!(orientation(&little(6)[..20]), None);
    }
}

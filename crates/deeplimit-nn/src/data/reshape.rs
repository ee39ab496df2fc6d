//! Images of another size or number of channels than their file has, so that they fit a network that is
//! there already.
//!
//! Sizes change by lines between pixels, whose centres lie at halves: output pixel i of n lies at
//! (i + 1/2) m/n − 1/2 among m pixels, within the first and the last, and takes the two beside it by
//! their distance. That is `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`:
//! without antialiasing, so that a much smaller image leaves pixels out. One channel becomes three that
//! are equal; three become one by the luminance of ITU-R BT.601.

use super::{Inputs, Shape};

/// Shares of red, green and blue in the luminance.
const LUMINANCE: [f32; 3] = [0.299, 0.587, 0.114];

/// How images of one shape are seen in another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reshape {
    from: Shape,
    to: Shape,
    rows: Vec<Between>,
    columns: Vec<Between>,
}

impl Reshape {
    /// To a side, and a number of channels (1 or 3); `None` where images have both already.
    pub(super) fn new(from: Shape, side: Option<usize>, channels: Option<usize>) -> Option<Self> {
        let channels = channels.unwrap_or(from.channels);
        let to = Shape::image(channels, side.unwrap_or(from.height), side.unwrap_or(from.width));
        Self::between(from, to)
    }

    /// From one shape to another, of 1 or 3 channels where these differ; `None` where they are equal.
    pub(super) fn between(from: Shape, to: Shape) -> Option<Self> {
        (from != to).then(|| Self {
            from,
            to,
            rows: Between::all(from.height, to.height),
            columns: Between::all(from.width, to.width),
        })
    }

    /// The shape that images are seen in.
    pub(super) fn to(&self) -> Shape {
        self.to
    }

    /// Writes one image as it is seen, in units of full brightness.
    pub(super) fn write(&self, inputs: &Inputs, index: usize, out: &mut [f32]) {
        let start = index * self.from.elements();
        match inputs {
            Inputs::Bytes { bytes, full } => {
                let full = f32::from(*full);
                self.planes(|place| f32::from(bytes[start + place]) / full, out);
            }
            Inputs::Floats(values) => self.planes(|place| values[start + place] as f32, out),
        }
    }

    fn planes(&self, value: impl Fn(usize) -> f32, out: &mut [f32]) {
        let plane = self.from.plane();
        if self.from.channels == 3 && self.to.channels == 1 {
            let share = |place, channel: usize| LUMINANCE[channel] * value(channel * plane + place);
            self.resize(|place| (0..3).map(|channel| share(place, channel)).sum(), out);
            return;
        }
        for (channel, out) in out.chunks_exact_mut(self.to.plane()).enumerate() {
            let first = channel.min(self.from.channels - 1) * plane;
            self.resize(|place| value(first + place), out);
        }
    }

    fn resize(&self, value: impl Fn(usize) -> f32, out: &mut [f32]) {
        let width = self.from.width;
        for (out, row) in out.chunks_exact_mut(self.to.width).zip(&self.rows) {
            for (out, column) in out.iter_mut().zip(&self.columns) {
                let in_row = |row: usize| column.of(|column| value(row * width + column));
                *out = row.of(in_row);
            }
        }
    }
}

/// A place between two neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Between {
    low: usize,
    high: usize,
    /// The distance from `low`, in pixels.
    beyond: f32,
}

impl Between {
    /// The places of `to` pixels among `from`.
    fn all(from: usize, to: usize) -> Vec<Self> {
        let scale = from as f64 / to as f64;
        let place = |pixel: usize| {
            let place = ((pixel as f64 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f64);
            let low = place as usize;
            Self { low, high: (low + 1).min(from - 1), beyond: (place - low as f64) as f32 }
        };
        (0..to).map(place).collect()
    }

    /// The value on the line; exactly that of both neighbours where they are equal.
    fn of(self, value: impl Fn(usize) -> f32) -> f32 {
        let low = value(self.low);
        low + self.beyond * (value(self.high) - low)
    }
}

//! The residual functions that a configuration can name.

use deeplimit::Real;
use deeplimit::control::{Control, Family, Kind};
use deeplimit::field::{AnyLayer, ConvBnLayer, Layer, LayerName, Order};
use deeplimit::kernel::{Activation, Image};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::sync::LazyLock;

/// A field by name: one of the library's layers, or the convolutional one with batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldName {
    /// A layer whose samples do not see each other.
    Layer(LayerName),
    /// Convolutions with batch normalisation.
    ConvBn(Order),
}

impl FieldName {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        LayerName::ALL.into_iter().map(Self::Layer).chain(Order::ALL.map(Self::ConvBn))
    }

    /// The field of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|field| field.name() == name)
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer(layer) => layer.name(),
            Self::ConvBn(Order::Post) => "conv-bn",
            Self::ConvBn(Order::Pre) => "conv-bn-pre",
            Self::ConvBn(Order::Bottleneck) => "conv-bn-bottleneck",
            Self::ConvBn(Order::Full) => "bn-conv",
            Self::ConvBn(Order::FullBottleneck) => "bn-conv-bottleneck",
        }
    }

    /// Whether the field has hidden units or channels.
    pub fn has_hidden(self) -> bool {
        match self {
            Self::Layer(layer) => layer.has_hidden(),
            Self::ConvBn(_) => true,
        }
    }

    /// Whether the field has a nonlinearity.
    pub fn has_activation(self) -> bool {
        match self {
            Self::Layer(layer) => layer.has_activation(),
            Self::ConvBn(_) => true,
        }
    }

    /// Whether the field normalises by the batch, which then goes through the flow whole.
    pub fn normalises(self) -> bool {
        matches!(self, Self::ConvBn(_))
    }

    /// Whether the state must be images; `hidden` then counts channels.
    pub fn needs_images(self) -> bool {
        matches!(self, Self::Layer(LayerName::Conv) | Self::ConvBn(_))
    }

    /// The field for states of `channels` images. What it does not have (`hidden`, `activation`) is
    /// not used.
    pub fn formula(
        self,
        channels: usize,
        image: Image,
        hidden: usize,
        activation: Activation,
    ) -> Formula {
        match self {
            Self::Layer(layer) => Formula::Layer(layer.layer(channels, image, hidden, activation)),
            Self::ConvBn(order) => {
                Formula::ConvBn(ConvBnLayer { channels, hidden, image, activation, order })
            }
        }
    }
}

impl Serialize for FieldName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static NAMES: LazyLock<Vec<&str>> =
            LazyLock::new(|| FieldName::all().map(FieldName::name).collect());
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| de::Error::unknown_variant(&name, &NAMES))
    }
}

/// A field with its sizes, without its weights.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one a stage")]
pub enum Formula {
    /// A layer whose samples do not see each other.
    Layer(AnyLayer),
    /// Convolutions with batch normalisation.
    ConvBn(ConvBnLayer),
}

/// Whether parameters of that name scale a normalisation.
pub(super) fn scales(kind: &str) -> bool {
    matches!(kind, "g1" | "g2" | "g3")
}

/// Whether parameters of that name shift a normalisation.
pub(super) fn shifts(kind: &str) -> bool {
    matches!(kind, "be1" | "be2" | "be3")
}

impl Formula {
    /// Whether it applies relu to its inputs first, so that relu of them changes nothing.
    pub(super) fn begins_with_relu(&self) -> bool {
        match self {
            Self::Layer(_) => false,
            Self::ConvBn(layer) => {
                layer.activation == Activation::Relu
                    && matches!(layer.order, Order::Pre | Order::Bottleneck)
            }
        }
    }

    /// The kinds of its parameters.
    pub fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Layer(layer) => Layer::<f32>::kinds(layer),
            Self::ConvBn(layer) => layer.kinds(),
        }
    }

    /// Numbers a sample of the state.
    pub fn width(&self) -> usize {
        match self {
            Self::Layer(layer) => Layer::<f32>::width(layer),
            Self::ConvBn(layer) => layer.channels * layer.image.pixels(),
        }
    }

    /// Channels that are normalised, hidden ones first; 0 where none are.
    pub fn normalised(&self) -> usize {
        match self {
            Self::Layer(_) => 0,
            Self::ConvBn(layer) => layer.normalised(),
        }
    }

    /// Pixels of the smallest image that is normalised; none where none is.
    pub(super) fn fewest_pixels(&self) -> Option<usize> {
        match self {
            Self::Layer(_) => None,
            Self::ConvBn(layer) => layer.chain().fewest_pixels(),
        }
    }

    /// Whether a kind is the scale or the shift of a normalisation.
    pub fn normalises(&self, kind: &str) -> bool {
        matches!(self, Self::ConvBn(_)) && (scales(kind) || shifts(kind))
    }

    /// The kind with which the field vanishes, where shifts are 0: what scales the last normalisation, or the
    /// weights of a convolution behind it; none where nothing is normalised.
    pub fn last_factor(&self) -> Option<&'static str> {
        let kinds = self.kinds();
        let factor = |name: &str| scales(name) || name.starts_with('w');
        let last = kinds.iter().rev().map(|kind| kind.name).find(|name| factor(name));
        last.filter(|_| self.normalised() > 0)
    }

    /// Initial weights of a family, times `gain`. Normalisations start with scale 1 and shift 0.
    pub fn initial<R: Real>(
        &self,
        nodes: usize,
        family: Family,
        gain: f64,
        seed: u64,
    ) -> Control<R> {
        let mut control = Control::<f64>::random(self.kinds(), nodes, family, seed);
        let names: Vec<&str> = control.kinds().iter().map(|kind| kind.name).collect();
        for (name, values) in names.into_iter().zip(control.values_mut()) {
            match name {
                _ if self.normalises(name) => values.fill(if scales(name) { 1.0 } else { 0.0 }),
                _ => values.iter_mut().for_each(|value| *value *= gain),
            }
        }
        control.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_an_unknown_one_lists_all() {
        for field in FieldName::all() {
            let value = toml::Value::try_from(field).expect("a name");
            assert_eq!(value.try_into(), Ok(field));
        }
        let error = toml::Value::from("conv-nb").try_into::<FieldName>();
        let text = error.expect_err("no field").to_string();
        assert!(text.contains("unknown variant `conv-nb`") && text.contains("`conv-bn`"), "{text}");
    }

    #[test]
    fn normalisations_start_as_none_whatever_the_gain() {
        for order in Order::ALL {
            normalisations_start_as_none(FieldName::ConvBn(order));
        }
    }

    fn normalisations_start_as_none(field: FieldName) {
        let image = Image { height: 3, width: 3 };
        let formula = field.formula(2, image, 3, Activation::Relu);
        let control = formula.initial::<f32>(4, Family::Smooth, 7.0, 1);
        let doubled = formula.initial::<f32>(4, Family::Smooth, 14.0, 1);
        for (kind, (values, doubled)) in control.values().iter().zip(doubled.values()).enumerate() {
            match control.kinds()[kind].name {
                name if scales(name) => {
                    assert!(values.iter().all(|v| *v == 1.0) && values == doubled)
                }
                name if shifts(name) => {
                    assert!(values.iter().all(|v| *v == 0.0) && values == doubled)
                }
                _ => assert!(values.iter().zip(doubled).all(|(v, d)| 2.0 * v == *d)),
            }
        }
    }
}

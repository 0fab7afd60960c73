//! Geographic positions and the distance between them.

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Units per degree. One unit is about a centimetre at the equator.
const PER_DEGREE: f64 = 1e7;
/// The mean radius of the Earth in metres (IUGG R₁).
const EARTH_RADIUS_METERS: f64 = 6_371_008.8;

/// A position in WGS 84 coordinates, with a resolution of about a centimetre.
///
/// Stored as integers so that equality is exact and every back end returns the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    latitude_e7: i64,
    longitude_e7: i64,
}

impl Place {
    /// Parses a position given in degrees north and east: ±90 and ±180, finite.
    pub fn parse(latitude: f64, longitude: f64) -> Result<Self, Invalid> {
        let bounded = |name: &str, degrees: f64, most: f64| {
            if degrees.is_finite() && degrees.abs() <= most {
                #[expect(clippy::cast_possible_truncation, reason = "at most 180 × 10⁷")]
                Ok((degrees * PER_DEGREE).round() as i64)
            } else {
                Err(Invalid::new(format!("has {name} {degrees}; it is -{most} to {most} degrees")))
            }
        };
        Ok(Self {
            latitude_e7: bounded("latitude", latitude, 90.0)?,
            longitude_e7: bounded("longitude", longitude, 180.0)?,
        })
    }

    /// Rebuilds a position that was validated before, such as one read from the store.
    pub fn trusted(latitude_e7: i64, longitude_e7: i64) -> Self {
        Self { latitude_e7, longitude_e7 }
    }

    /// Returns latitude and longitude in ten-millionths of a degree, north and east positive.
    pub fn e7(self) -> (i64, i64) {
        (self.latitude_e7, self.longitude_e7)
    }

    /// Returns latitude and longitude in degrees, north and east positive.
    #[expect(clippy::cast_precision_loss, reason = "at most 180 × 10⁷")]
    pub fn degrees(self) -> (f64, f64) {
        (self.latitude_e7 as f64 / PER_DEGREE, self.longitude_e7 as f64 / PER_DEGREE)
    }

    /// Returns the great-circle distance to another position in metres (haversine formula). The Earth is
    /// treated as a sphere, which is accurate to about half a percent.
    pub fn meters_to(self, other: Self) -> f64 {
        let radians = |place: Self| {
            let (latitude, longitude) = place.degrees();
            (latitude.to_radians(), longitude.to_radians())
        };
        let ((lat1, lon1), (lat2, lon2)) = (radians(self), radians(other));
        let half_chord = |angle: f64| (angle / 2.0).sin().powi(2);
        let a = half_chord(lat2 - lat1) + lat1.cos() * lat2.cos() * half_chord(lon2 - lon1);
        // Rounding can take `a` slightly out of 0..=1 for identical or antipodal points, and `asin` would
        // return NaN.
        2.0 * EARTH_RADIUS_METERS * a.clamp(0.0, 1.0).sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_distances() {
        let place = |latitude, longitude| Place::parse(latitude, longitude).unwrap();
        // London to Paris, then pole to pole.
        let london = place(51.5074, -0.1278);
        assert!((london.meters_to(place(48.8566, 2.3522)) - 343_556.0).abs() < 1_000.0);
        let half_way_round = std::f64::consts::PI * EARTH_RADIUS_METERS;
        assert!((place(90.0, 0.0).meters_to(place(-90.0, 0.0)) - half_way_round).abs() < 1.0);
        assert!(place(0.0, 180.0).meters_to(place(0.0, -180.0)) < 0.1, "across the date line");
    }

    #[test]
    fn coordinates_out_of_range_are_refused() {
        for (latitude, longitude) in
            [(90.1, 0.0), (-91.0, 0.0), (0.0, 180.5), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert!(Place::parse(latitude, longitude).is_err(), "{latitude} {longitude}");
        }
    }

    proptest! {
        #[test]
        fn distances_are_symmetric_and_bounded(
            a in (-90.0..=90.0, -180.0..=180.0), b in (-90.0..=90.0, -180.0..=180.0)
        ) {
            let (a, b) = (Place::parse(a.0, a.1).unwrap(), Place::parse(b.0, b.1).unwrap());
            let (there, back) = (a.meters_to(b), b.meters_to(a));
            prop_assert!((there - back).abs() < 1e-3);
            prop_assert!((0.0..=std::f64::consts::PI * EARTH_RADIUS_METERS + 1.0).contains(&there));
            prop_assert!(a.meters_to(a) < 1e-6);
        }
    }
}

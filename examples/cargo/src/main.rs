//! Prints numbers as short as they can be written.

fn written(whole: i64, part: f64) -> String {
    let mut whole_buffer = itoa::Buffer::new();
    let mut part_buffer = ryu::Buffer::new();
    format!("{} {}", whole_buffer.format(whole), part_buffer.format(part))
}

fn main() {
    println!("{}", written(42, 0.3));
}

#[cfg(test)]
mod tests {
    #[test]
    fn writes_numbers() {
        assert_eq!(super::written(-7, 0.1), "-7 0.1");
    }
}

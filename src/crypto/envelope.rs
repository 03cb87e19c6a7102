//! The envelope: layout, associated data (DESIGN: "What is stored").

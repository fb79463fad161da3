/// The process's own output.
package enum StandardOutput {
    package static func write(_ bytes: [UInt8]) { LogFile.standardOutput.write(bytes) }
    package static func line(_ text: String) { write(Array((text + "\n").utf8)) }
}

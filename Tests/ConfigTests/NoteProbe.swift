import Config

extension ScriptProbe {
    /// Stands in for an interpreter: it believes what comments in the script say.
    ///
    ///     --! hook request
    ///     --! variable tier
    ///     --! reads tier plan       (`-` in place of `tier` for a text that is a body itself)
    ///     --! fault message
    static let readingNotes = ScriptProbe { script, settings in
        var outline = ScriptOutline()
        let lines = String(decoding: script.text.text, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false)
        for (offset, line) in lines.enumerated() {
            guard let note = line.ranges(of: "--! ").first else { continue }
            let words = line[note.upperBound...].split(separator: " ").map(String.init)
            switch words.first {
            case "hook": if let stage = HookStage(name: words[1]) { outline.hooks.insert(stage) }
            case "variable": outline.variables.append(words[1])
            case "reads": outline.references[words[1] == "-" ? "" : words[1], default: []].append(words[2])
            case "path":
                if settings.packagePath != words[1] {
                    return .failure(ScriptFault(message: "the path is \(settings.packagePath)"))
                }
            case "fault":
                return .failure(
                    ScriptFault(
                        message: words.dropFirst().joined(separator: " "), file: script.text.file,
                        line: script.text.line + offset))
            default: break
            }
        }
        return .success(outline)
    }
}

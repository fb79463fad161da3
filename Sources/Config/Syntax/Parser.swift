/// A directive as written: its name, its arguments, and the directives in its block.
package struct DirectiveNode: Sendable, Hashable {
    package enum Body: Sendable, Hashable {
        /// Ended by `;`.
        case none
        case block([DirectiveNode])
        /// The Lua in the braces of a `…_by_lua_block`.
        case script(ScriptText)
    }

    package var name: Word
    package var arguments: [Word]
    package var body: Body

    package init(name: Word, arguments: [Word] = [], body: Body = .none) {
        self.name = name
        self.arguments = arguments
        self.body = body
    }

    package var position: SourcePosition { name.position }
}

/// Reads files into a tree of directives, replacing each `include` by what it includes.
///
/// It knows nothing of directives but `include`, and that names in `_by_lua_block` have Lua in their braces. After a fault it goes on behind the next `;` or `}`, so that
/// one run finds them all.
package struct Parser {
    /// Files within files.
    private static let deepestInclude = 32
    /// Blocks within blocks, counted through files; beyond any use, but recursion must end.
    private static let deepestBlock = 64

    let files: ConfigurationFiles
    /// Directory that relative paths of `include` are under.
    let configurationDirectory: String
    private var order = 0
    private var blockDepth = 0
    /// Lua that does not end took the braces of the blocks around it: nothing is said about those.
    private var luaTookRest = false
    /// The files being read, each included by the one before.
    private var openFiles: [String] = []
    package private(set) var diagnostics: [ConfigDiagnostic] = []
    /// Every file that was read, in that order, each once.
    package private(set) var sources: [SourceFile] = []

    package init(files: ConfigurationFiles, configurationDirectory: String) {
        self.files = files
        self.configurationDirectory = configurationDirectory
    }

    /// The directives of a file, or none (and a diagnostic) when it cannot be read.
    package mutating func parse(path: String) -> [DirectiveNode] {
        parse(path: path, includedBy: nil)
    }

    /// The directives of a text; `name` stands for its file's name in messages.
    package mutating func parse(text: [UInt8], name: String) -> [DirectiveNode] {
        var lexer = Lexer(text, file: name, order: order)
        let nodes = directives(&lexer, opened: nil)
        luaTookRest = false
        order = lexer.nextOrder
        return nodes
    }

    private mutating func parse(path: String, includedBy include: DirectiveNode?) -> [DirectiveNode] {
        guard !openFiles.contains(path) else {
            report(include?.position, directive: "include", "found \"\(path)\", which includes itself")
            return []
        }
        switch files.read(path) {
        case .failure(let failure):
            report(
                include?.position, directive: include?.name.text ?? "",
                "cannot read \"\(path)\": \(failure.reason)")
            return []
        case .success(let bytes):
            if !sources.contains(where: { $0.path == path }) {
                sources.append(SourceFile(path: path, bytes: bytes))
            }
            openFiles.append(path)
            defer { openFiles.removeLast() }
            return parse(text: bytes, name: path)
        }
    }

    /// Directives up to the `}` that closes the block opened at `opened`, or up to the file's end.
    private mutating func directives(
        _ lexer: inout Lexer, opened: SourcePosition?
    ) -> [DirectiveNode] {
        var nodes: [DirectiveNode] = []
        var words: [Word] = []
        // A fault was reported in the directive being read: nothing more is said about it.
        var isSpoilt = false
        while true {
            switch lexer.next() {
            case .word(let word):
                words.append(word)
            case .semicolon(let position):
                if isSpoilt {
                    words = []
                    isSpoilt = false
                } else if words.isEmpty {
                    report(position, "found \";\", expected a directive")
                } else {
                    finish(&words, into: &nodes, &lexer)
                }
            case .openBrace(let position):
                let body = body(of: words.first, &lexer, opened: position)
                if isSpoilt {
                    words = []
                    isSpoilt = false
                } else if words.isEmpty {
                    report(position, "found \"{\", expected a directive")
                } else {
                    if let body {
                        nodes.append(
                            DirectiveNode(name: words[0], arguments: Array(words.dropFirst()), body: body))
                    }
                    words = []
                }
            case .closeBrace(let position):
                if let word = words.first {
                    if !isSpoilt { report(position, directive: word.text, "found \"}\", expected \";\"") }
                    words = []
                    isSpoilt = false
                } else if opened == nil {
                    report(position, "found \"}\" where no block is open")
                }
                if opened != nil { return nodes }
            case .fault(let position, let message):
                if !isSpoilt { report(position, directive: words.first?.text ?? "", message) }
                isSpoilt = true
            case .end(let position):
                if let word = words.first, !isSpoilt {
                    report(
                        position, directive: word.text, "found the end of the file, expected \";\" or \"{\"")
                }
                if let opened, !luaTookRest {
                    report(
                        position,
                        "found the end of the file, expected \"}\" for the block opened at line \(opened.line)"
                    )
                }
                return nodes
            }
        }
    }

    /// What stands in the braces of the directive, or `nil` and a report when that is Lua without an end.
    private mutating func body(
        of name: Word?, _ lexer: inout Lexer, opened: SourcePosition
    ) -> DirectiveNode.Body? {
        guard let name, name.text.hasSuffix("_by_lua_block") else {
            return .block(block(&lexer, opened: opened))
        }
        switch lexer.luaBlock(opened: opened) {
        case .success(let text): return .script(text)
        case .failure(let fault):
            report(fault.position, directive: name.text, fault.message)
            luaTookRest = fault.tookRest
            return nil
        }
    }

    private mutating func block(_ lexer: inout Lexer, opened: SourcePosition) -> [DirectiveNode] {
        guard blockDepth < Parser.deepestBlock else {
            report(opened, "found blocks nested more than \(Parser.deepestBlock) deep")
            skipBlock(&lexer)
            return []
        }
        blockDepth += 1
        defer { blockDepth -= 1 }
        return directives(&lexer, opened: opened)
    }

    private mutating func skipBlock(_ lexer: inout Lexer) {
        var open = 1
        while open > 0 {
            switch lexer.next() {
            case .openBrace: open += 1
            case .closeBrace: open -= 1
            case .end: return
            case .word, .semicolon, .fault: break
            }
        }
    }

    private mutating func finish(
        _ words: inout [Word], into nodes: inout [DirectiveNode], _ lexer: inout Lexer
    ) {
        let node = DirectiveNode(name: words[0], arguments: Array(words.dropFirst()))
        words = []
        guard node.name.text == "include" else {
            nodes.append(node)
            return
        }
        order = lexer.nextOrder
        nodes += included(by: node)
        lexer.resume(order: order)
    }

    private mutating func included(by node: DirectiveNode) -> [DirectiveNode] {
        guard node.arguments.count == 1 else {
            report(
                node.position, directive: "include", "found \(node.arguments.count) arguments, expected 1")
            return []
        }
        guard openFiles.count <= Parser.deepestInclude else {
            report(
                node.position, directive: "include",
                "found files included more than \(Parser.deepestInclude) deep")
            return []
        }
        let path = Paths.path(node.arguments[0].text, under: configurationDirectory)
        guard path.utf8.contains(where: { "*?[".utf8.contains($0) }) else {
            return parse(path: path, includedBy: node)
        }
        switch files.glob(path) {
        case .failure(let failure):
            report(node.position, directive: "include", "cannot list \"\(path)\": \(failure.reason)")
            return []
        case .success(let paths):
            return paths.flatMap { parse(path: $0, includedBy: node) }
        }
    }

    private mutating func report(_ position: SourcePosition?, directive: String = "", _ message: String) {
        diagnostics.append(ConfigDiagnostic(position: position, directive: directive, message: message))
    }
}

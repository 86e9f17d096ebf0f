package job

import "time"

// A Spec is everything a user says about one job. It is plain data; package job/jobfile reads it from YAML.
// The zero value of a field means its default.
type Spec struct {
	Name string `json:"name,omitempty"`

	Inputs        []string  `json:"inputs"`                  // URIs: s3://bucket/prefix, file:///dir, with globs
	Include       []string  `json:"include,omitempty"`       // globs over the key below its input; one must match
	Exclude       []string  `json:"exclude,omitempty"`       // globs over the key below its input; none may match
	ModifiedSince time.Time `json:"modified_since,omitzero"` // LastModified at or after
	Output        string    `json:"output,omitempty"`        // URI; "" or "-" prints instead
	Overwrite     bool      `json:"overwrite,omitempty"`     // replace what lies at Output
	Work          string    `json:"work,omitempty"`          // URI for the plan where Output has none; "" means a temporary directory

	Program  Program           `json:"program"` // empty if there are Groups
	Params   map[string]string `json:"params,omitempty"`
	Reducers int               `json:"reducers,omitempty"` // partitions; 0: 1 if the program reduces, else a map-only job
	Reducer  string            `json:"reducer,omitempty"`  // stock reducer of what a program prints, as reducer.LookupText has it: sum, sum:float64, top-k(10), …
	Format   Format            `json:"format,omitempty"`
	Compress Compression       `json:"compress,omitempty"` // of output in lines
	Single   string            `json:"single,omitempty"`   // name of the one object below Output that all partitions are put together in

	Partition Partitioning `json:"partition,omitempty"` // which partition a key belongs to

	// Deterministic says what is done to find out whether the program is.
	Deterministic Determinism `json:"deterministic,omitempty"`

	Limits    Limits    `json:"limits,omitzero"`
	Isolation Isolation `json:"isolation,omitempty"`
	Tolerate  Tolerance `json:"tolerate,omitempty"` // failed objects that still commit
	Split     int       `json:"split,omitempty"`    // most objects that one attempt maps, for those that take long each; 0 means what the size of the job suggests
	Priority  int       `json:"priority,omitempty"` // on a cluster, from -9 to 9: each step doubles its share of slots, and higher ones begin first
	Tenant    string    `json:"tenant,omitempty"`   // on a cluster, on whose account the job is, for quotas
	Slots     int       `json:"slots,omitempty"`    // runners at once on this node; 0 means one per core
	Limit     int64     `json:"limit,omitempty"`    // stop after so many printed records; 0 means all
	OKExit    []int     `json:"ok_exit,omitempty"`  // exit codes of a command that mean success; empty means 0
	Insecure  []string  `json:"insecure,omitempty"` // sandbox layers given up by name

	Store Store `json:"store,omitzero"`

	// Groups, by name, are the programs of a job that has several, joined by Channels, by name.
	Groups   map[string]Group   `json:"groups,omitempty"`
	Channels map[string]Channel `json:"channels,omitempty"`
}

// A Program names the code of a job: what the user wrote, or a builtin.
type Program struct {
	Engine Engine   `json:"engine,omitempty"`
	Name   string   `json:"name,omitempty"`   // builtin: its name; else the name shown to people
	Path   string   `json:"path,omitempty"`   // a file: module or executable, already built
	Digest string   `json:"digest,omitempty"` // SHA-256 of the code, hexadecimal
	Args   []string `json:"args,omitempty"`   // further arguments of a command, before the parameters
}

// An Engine runs a program inside the jail.
type Engine string

// Engines.
const (
	Builtin Engine = "builtin" // compiled into millrace
	Wasm    Engine = "wasm"    // a WebAssembly module (WASI preview 1), by wazero
	Native  Engine = "native"  // a Linux executable
)

// An Isolation is what shares an instance of the program.
type Isolation string

// Isolations. Objects of one split that share an instance see what those before left in its variables; each succeeds or fails for itself all
// the same.
const (
	IsolateObject Isolation = "object" // each object has a fresh instance; the default
	IsolateSplit  Isolation = "split"  // the objects of a split share one, for programs of the Go SDK
)

// A Format is how output records are written.
type Format string

// Formats.
const (
	Text    Format = "text"    // key TAB value, with \t \n \r \\ escaped
	JSONL   Format = "jsonl"   // {"key": …, "value": …}
	Arrow   Format = "arrow"   // an Arrow IPC file of two columns, key and value
	Parquet Format = "parquet" // likewise
)

// IsTable reports whether output of format f is columns, not lines.
func (f Format) IsTable() bool { return f == Arrow || f == Parquet }

// A Compression is how output in lines is compressed; "" means not at all. Arrow and Parquet files are compressed in themselves.
type Compression string

// Compressions.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Suffix returns what the names of parts end in: "", ".gz", ".zst", ".arrow", ".parquet".
func Suffix(f Format, c Compression) string {
	switch {
	case f.IsTable():
		return "." + string(f)
	case c == Gzip:
		return ".gz"
	case c == Zstd:
		return ".zst"
	}
	return ""
}

// A Partitioning decides which partition a key belongs to.
type Partitioning string

// Partitionings.
const (
	ByHash  Partitioning = "hash"  // a hash of the key; the default
	ByRange Partitioning = "range" // ranges of keys, one after the other, cut by a sample of the input: the parts together are sorted
)

// A Determinism is how a job makes sure that its program does the same each time. The zero value is that it does not.
type Determinism string

// Check has a sample of the objects mapped again, and fails the job before anything is visible if one does not come out the same.
const Check Determinism = "check"

// Limits bound one guest. A zero field means the default that package sandbox gives it. Each is of the run of one object; Wall
// and CPU are never of queueing. Of a reduce attempt are Memory, Log and LogLines, and Wall and CPU from one time that it gets records to the next; it may read and emit
// any number of them. Where an instance is shared, Memory, Log and LogLines are of the instance.
type Limits struct {
	Memory  int64         `json:"memory,omitempty"`  // bytes
	Wall    time.Duration `json:"wall,omitempty"`    // per object
	CPU     time.Duration `json:"cpu,omitempty"`     // per object
	Output  int64         `json:"output,omitempty"`  // bytes that one object may emit
	Records int64         `json:"records,omitempty"` // records that one object may emit

	Reads     int64 `json:"reads,omitempty"`      // calls that read the program's stdin
	ReadBytes int64 `json:"read_bytes,omitempty"` // bytes of stdin
	Writes    int64 `json:"writes,omitempty"`     // calls that write its stdout, whose bytes Output bounds

	Log      int64 `json:"log,omitempty"`       // bytes of stderr kept; what is beyond is dropped, not an error
	LogLines int64 `json:"log_lines,omitempty"` // lines of it, likewise

	Shuffle int64 `json:"shuffle,omitempty"` // bytes of memory in which one runner sorts or merges records
	Spill   int64 `json:"spill,omitempty"`   // bytes of disk that records of the job may take on one node; 0 means any number
}

// A Tolerance is how many objects may fail in a job that still commits: "0", "20", "1%", "all"; "" is 1 %.
type Tolerance string

// Store is what a spec may say about access to its stores, as store.Options has it.
type Store struct {
	NoSignRequest bool   `json:"no_sign_request,omitempty"`
	RequesterPays bool   `json:"requester_pays,omitempty"`
	Endpoint      string `json:"endpoint,omitempty"`
	Region        string `json:"region,omitempty"`
}

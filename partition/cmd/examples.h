// What `slotctl VERB --help` ends with.
#ifndef KEELSON_PARTITION_CMD_EXAMPLES_H_
#define KEELSON_PARTITION_CMD_EXAMPLES_H_

namespace CLI {
class App;
}

namespace keelson::partition {

// Gives each verb of `slotctl`, which has them all, the exit codes and examples of its own.
void AddExamples(CLI::App& slotctl);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_EXAMPLES_H_

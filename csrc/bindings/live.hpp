// What a program on memory of its own does for the streams of models.
#pragma once
#include "bindings.hpp"

class LiveModel;

// Throws where the object is none.
const LiveModel& live_from(const py::handle& object);
// New outputs for new inputs, a tuple; None where they do not fit as they are.
py::object step_on(const LiveModel& live, const py::tuple& arrays);
// From and to its own memory.
void step_in_place(const LiveModel& live);
